//! Agents: their presence, their commands, and life without a router.

use std::{collections::BTreeSet, time::Duration};

use bus_schema::{
    claims::Role,
    command::{Command, CommandRequest, PresenceReport},
    config::{AgentRecord, Record},
    limits::COMMAND_WAIT_MS,
    state::{CloseReason, RoutingStatus},
    subject,
};
use futures::StreamExt as _;
use ops::testing::wait_for;
use serde_json::json;
use tokio::{sync::mpsc::Receiver, time::Instant};

use crate::{
    client::{Client, Got, message},
    world::World,
};

async fn asked<T>(
    commands: &mut Receiver<(bus_schema::CommandId, Command)>,
    fits: impl Fn(&Command) -> Option<T>,
) -> T {
    wait_for(Duration::from_secs(10), "the router to be asked", async || {
        commands.recv().await.and_then(|(_, command)| fits(&command))
    })
    .await
}

#[tokio::test]
async fn the_router_is_told_of_every_change_of_an_agents_connections() {
    let world = World::new().await;
    let mut commands = world.answer_commands().await;
    let edge = world.edge().await;
    let agent = world.agents[0];
    let report = |command: &Command| match command {
        Command::Presence { agents, .. } => agents.iter().find(|r| r.agent_id == agent).copied(),
        _ => None,
    };
    let token = world.staff_token(agent, Role::Agent);
    let (first, _) = Client::login(edge.at, &token).await;
    let one: PresenceReport = asked(&mut commands, report).await;
    let (second, _) = Client::login(edge.at, &token).await;
    let two = asked(&mut commands, report).await;
    drop((first, second));
    let none = asked(&mut commands, |command| report(command).filter(|r| r.connections == 0)).await;
    assert_eq!((one.connections, two.connections), (1, 2));
    assert!(one.rev < two.rev && two.rev < none.rev);
}

#[tokio::test]
async fn an_edge_that_leaves_says_first_that_its_agents_are_gone() {
    let world = World::new().await;
    let edge = world.edge().await;
    let mut here = Vec::new();
    for agent in &world.agents {
        here.push(Client::login(edge.at, &world.staff_token(*agent, Role::Agent)).await.0);
    }
    let stopping = tokio::spawn(edge.stop());
    for mut client in here {
        assert_eq!(client.closed().await, Got::Closed(3000));
    }
    // The router is deployed at the same time, say.
    let mut commands = world.answer_commands().await;
    stopping.await.unwrap();
    let mut gone = BTreeSet::new();
    while gone.len() < world.agents.len() {
        let reports = asked(&mut commands, |command| match command {
            Command::Presence { agents, .. } => Some(agents.clone()),
            _ => None,
        })
        .await;
        gone.extend(reports.iter().filter(|report| report.connections == 0).map(|report| report.agent_id));
    }
}

#[tokio::test]
async fn commands_reach_the_router_and_its_word_is_the_answer() {
    let world = World::new().await;
    let mut commands = world.answer_commands().await;
    let edge = world.edge().await;
    let session = world.session(&edge, [1; 32], json!({ "initial_message": "Hello" })).await;
    let conversation = session["conversation"]["id"].clone();
    let token = world.staff_token(world.agents[0], Role::Agent);
    let (mut staff, _) = Client::login_with(edge.at, &token, json!({ "status": "accepting" })).await;
    let set = asked(&mut commands, |command| match command {
        Command::SetStatus { status, .. } => Some(*status),
        _ => None,
    })
    .await;
    assert_eq!(set, RoutingStatus::Accepting);
    let target = json!({ "conversation_id": conversation });
    assert_eq!(staff.request("take", target.clone()).await["success"], true);
    assert_eq!(staff.request("close_thread", target.clone()).await["success"], true);
    let reason = asked(&mut commands, |command| match command {
        Command::Close { reason, .. } => Some(*reason),
        _ => None,
    })
    .await;
    assert_eq!(reason, CloseReason::ClosedByAgent);
}

#[tokio::test]
async fn without_a_router_talk_goes_on_and_commands_are_told_to_try_again() {
    let world = World::new().await;
    let edge = world.edge().await;
    let session = world.session(&edge, [1; 32], json!({ "initial_message": "Hello" })).await;
    let conversation = session["conversation"]["id"].clone();
    world.assign(conversation.as_str().unwrap().parse().unwrap(), world.agents[0]).await;
    let token = world.staff_token(world.agents[0], Role::Agent);
    let (mut staff, login) = Client::login(edge.at, &token).await;
    assert_eq!(login["conversations"][0]["id"], conversation);
    let closing = staff.send("close_thread", json!({ "conversation_id": conversation })).await;
    let answer = staff.request("send_event", message(&conversation, "a-1", "Hi")).await;
    assert_eq!(answer["success"], true, "{answer}");
    let refused = staff.answer(&closing).await;
    let error = &refused["payload"]["error"];
    assert_eq!((&error["code"], &error["retryable"]), (&json!("unavailable"), &json!(true)));
}

#[tokio::test]
async fn a_router_that_says_nothing_is_asked_again_and_then_told_as_a_timeout() {
    let world = World::new().await;
    let edge = world.edge().await;
    let session = world.session(&edge, [1; 32], json!({ "initial_message": "Hello" })).await;
    let conversation = session["conversation"]["id"].clone();
    world.assign(conversation.as_str().unwrap().parse().unwrap(), world.agents[0]).await;
    let (mut staff, _) = Client::login(edge.at, &world.staff_token(world.agents[0], Role::Agent)).await;
    let commands = subject::commands(world.log.shard(), world.tenant);
    let mut unheard = world.bus.client.subscribe(commands).await.unwrap();
    world.bus.client.flush().await.unwrap();
    let asked = Instant::now();
    let refused = staff.request("close_thread", json!({ "conversation_id": conversation })).await;
    let error = &refused["payload"]["error"];
    assert_eq!((&error["code"], &error["retryable"]), (&json!("timeout"), &json!(true)), "{refused}");
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(COMMAND_WAIT_MS - 500), "given up after {took:?}");
    unheard.unsubscribe().await.unwrap();
    let mut closes = Vec::new();
    while let Some(message) = unheard.next().await {
        let request: CommandRequest = serde_json::from_slice(&message.payload).unwrap();
        if let Command::Close { .. } = request.command {
            closes.push(request.command_id);
        }
    }
    assert!(
        closes.len() > 1 && closes.iter().all(|id| *id == closes[0]),
        "one command, repeated: {closes:?}"
    );
    // It may have been carried out, so the thread is what the log says.
    assert_eq!(staff.request("send_event", message(&conversation, "a-1", "Hi")).await["success"], true);
}

#[tokio::test]
async fn an_agent_who_is_removed_is_out_before_the_token_ends() {
    let world = World::new().await;
    let edge = world.edge().await;
    let agent_id = world.agents[0];
    let (mut staff, _) = Client::login(edge.at, &world.staff_token(agent_id, Role::Agent)).await;
    let removed = AgentRecord { revision: 2, deleted: true, ..AgentRecord::new(world.tenant, agent_id, 5) };
    world.put(&Record::Agent(removed)).await;
    wait_for(Duration::from_secs(10), "the socket to be closed", async || {
        staff.send("ping", json!({})).await;
        staff.read().await == Got::Closed(3502)
    })
    .await;
}
