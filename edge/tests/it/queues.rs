//! Offers, and groups that take nobody more, as people at edges see them.

use std::time::Duration;

use bus_schema::{
    ConversationId,
    config::{GroupRecord, Member, Record, WhenOffline},
    routing::RoutingSettings,
    state::Strategy,
};
use ops::{chat, testing::wait_for};
use serde_json::{Value, json};

use crate::{
    client::{Client, Got},
    desk_work::{Desk, about, ask, comes, is},
    http,
    world::{Edge, World},
};

const SOON: Duration = Duration::from_secs(20);

/// A world whose group is changed before anybody looks at it.
async fn world_with(change: impl FnOnce(&mut GroupRecord)) -> World {
    let world = World::new().await;
    let mut group = GroupRecord {
        name: "Sales".into(),
        members: world.agents.iter().copied().map(Member::normal).collect(),
        revision: 2,
        ..GroupRecord::new(world.tenant, world.group)
    };
    change(&mut group);
    world.put(&Record::Group(group)).await;
    world
}

async fn accepting(desk: &Desk, edge: &Edge, n: usize) -> Client {
    let token = desk.world.staff_token(desk.world.agents[n], bus_schema::claims::Role::Agent);
    let (mut client, _) = Client::login_with(edge.at, &token, json!({ "status": "accepting" })).await;
    let follow = json!({ "view": "queue", "subscribe": true });
    assert_eq!(ask(&mut client, "list_conversations", follow).await, "ok");
    client
}

/// The queue shows the thread as offered to just these.
async fn offered(client: &mut Client, id: ConversationId, to: &[Value]) {
    let fits = |frame: &Value| {
        let conversation = &frame["payload"]["conversation"];
        let told = conversation["offered_to"].as_array().cloned().unwrap_or_default();
        let queue = |action| is(frame, action, "queue", &conversation["id"], id);
        (queue("conversation_available") || queue("conversation_updated"))
            && told.len() == to.len()
            && to.iter().all(|agent| told.contains(agent))
    };
    client.find(fits).await;
}

#[tokio::test]
async fn a_thread_is_offered_to_several_and_the_first_who_takes_it_has_it() {
    let desk = Desk::over(world_with(|group| group.strategy = Strategy::Broadcast).await).await;
    let mut first = accepting(&desk, &desk.one, 0).await;
    let mut second = accepting(&desk, &desk.two, 1).await;
    let mut third = accepting(&desk, &desk.one, 2).await;
    let agents: Vec<Value> = desk.world.agents.iter().map(|agent| json!(agent)).collect();
    wait_for(SOON, "the router to know that all three accept", async || {
        let answer = first.request("list_agents", json!({})).await;
        let online = answer["payload"]["agents"].as_array().unwrap().clone();
        online.iter().filter(|agent| agent["status"] == "accepting").count() == 3
    })
    .await;

    let (mut visitor, id) = desk.visitor(&desk.two, 1).await;
    for client in [&mut first, &mut second, &mut third] {
        offered(client, id, &agents).await;
    }
    assert_eq!(ask(&mut first, "decline", about(id)).await, "ok");
    for client in [&mut first, &mut second, &mut third] {
        offered(client, id, &agents[1..]).await;
    }
    // Both at once, at two edges.
    let outcomes = tokio::join!(ask(&mut second, "take", about(id)), ask(&mut third, "take", about(id)));
    let (winner, loser, by) = match (outcomes.0.as_str(), outcomes.1.as_str()) {
        ("ok", "already_assigned") => (&mut second, &mut third, &agents[1]),
        ("already_assigned", "ok") => (&mut third, &mut second, &agents[2]),
        other => panic!("{other:?}"),
    };
    comes(winner, id).await;
    assert_eq!(visitor.event("assigned").await["event"]["data"]["agent_id"], *by);
    for client in [&mut *loser, &mut first] {
        let gone = |frame: &Value| {
            is(frame, "conversation_removed", "queue", &frame["payload"]["conversation_id"], id)
        };
        client.find(gone).await;
        assert_eq!(ask(client, "take", about(id)).await, "already_assigned");
        assert_eq!(ask(client, "decline", about(id)).await, "conflict");
        let mine = client.request("list_conversations", json!({ "view": "mine" })).await;
        assert_eq!(mine["payload"]["total"], 0, "{mine}");
    }
    let told = visitor.read.iter().map(Value::to_string).collect::<String>();
    let secret = ["offered_to", "declined", agents[0].as_str().unwrap()];
    assert!(secret.iter().all(|word| !told.contains(word)), "the visitor is told of offers: {told}");
}

/// By the login's answer, or since.
async fn hears(visitor: &mut Client, kind: &str) {
    let event = format!(r#""kind":"{kind}""#);
    let told = |frame: &Value| frame.to_string().contains(&event);
    if !visitor.read.iter().any(told) {
        visitor.find(told).await;
    }
}

/// A visitor who is connected and has said nothing.
async fn newcomer(world: &World, edge: &Edge, key: u8) -> Client {
    let session = world.session(edge, [key; 32], json!({})).await;
    assert_eq!(session["conversation"], json!(null));
    Client::login(edge.at, session["token"].as_str().unwrap()).await.0
}

/// Both ways to begin are refused with the same code, which says that later may help, and leave nothing behind.
async fn turned_away(world: &World, edge: &Edge, key: u8, visitor: &mut Client, code: &str) {
    let before = world.log.end().await.unwrap().last;
    let body = world.session_body([key; 32], json!({ "initial_message": "Hello?" }));
    let answer = http::post(edge.at, "/v1/widget/session", &body).await;
    assert_eq!(answer.problem(), (409, code));
    let answer = visitor.request("start_thread", json!({})).await;
    let error = &answer["payload"]["error"];
    assert_eq!((&error["code"], &error["retryable"]), (&json!(code), &json!(true)), "{answer}");
    assert_eq!(world.log.end().await.unwrap().last, before, "something was written");
}

#[tokio::test]
async fn a_full_queue_turns_visitors_away_until_there_is_room() {
    let desk = Desk::over(world_with(|group| group.queue_max = Some(1)).await).await;
    let (mut first, id) = desk.visitor(&desk.one, 1).await;
    hears(&mut first, "queued").await;
    let mut second = newcomer(&desk.world, &desk.two, 2).await;
    turned_away(&desk.world, &desk.two, 2, &mut second, "queue_full").await;

    assert_eq!(ask(&mut first, "close_thread", about(id)).await, "ok");
    wait_for(SOON, "room in the queue", async || {
        let outcome = ask(&mut second, "start_thread", json!({})).await;
        if outcome == "ok" { Ok(()) } else { Err(outcome) }
    })
    .await;
    hears(&mut second, "queued").await;
}

#[tokio::test]
async fn a_group_that_closes_turns_visitors_away_until_somebody_is_there() {
    let world = world_with(|group| group.when_offline = WhenOffline::Close).await;
    let desk = Desk::over(world).await;
    let mut visitor = newcomer(&desk.world, &desk.one, 1).await;
    let shown = async || {
        let path = format!("/v1/widget/config/{}", desk.world.widget_key);
        http::request(desk.one.at, "GET", &path, &[], "").await.body["groups"][0]["status"].clone()
    };
    wait_for(SOON, "the page to be told", async || shown().await == "offline").await;
    turned_away(&desk.world, &desk.one, 1, &mut visitor, "group_offline").await;

    let mut agent = accepting(&desk, &desk.two, 0).await;
    let there = |frame: &Value| frame["action"] == "group_status" && frame["payload"]["status"] == "online";
    visitor.find(there).await;
    let started = visitor.request("start_thread", json!({})).await;
    let id = started["payload"]["id"].as_str().unwrap_or_else(|| panic!("{started}"));
    comes(&mut agent, id.parse().unwrap()).await;
}

/// Nobody could be asked when they began: the router says it afterwards.
async fn found_too_late(change: impl FnOnce(&mut GroupRecord), waits: bool, reason: &str) {
    let world = world_with(change).await;
    let edge = world.edge().await;
    let mut visitors = Vec::new();
    for key in 1..=2 {
        let begun = world.session(&edge, [key; 32], json!({ "initial_message": "Hello?" })).await;
        let (client, _) = Client::login(edge.at, begun["token"].as_str().unwrap()).await;
        let id: ConversationId = begun["conversation"]["id"].as_str().unwrap().parse().unwrap();
        visitors.push((client, id));
    }
    let _router = world.routed().await;
    for (n, (visitor, id)) in visitors.iter_mut().enumerate() {
        if n == 0 && waits {
            hears(visitor, "queued").await;
            continue;
        }
        let closed = visitor.event("closed").await["event"].clone();
        assert_eq!(
            (&closed["data"]["reason"], &closed["author"]["type"]),
            (&json!(reason), &json!("system"))
        );
        let life = chat::life(&world.log, world.home(*id)).await.unwrap().unwrap();
        assert!(!life.is_open());
        let late = crate::client::message(&json!(id), "late", "Still there?");
        assert_eq!(ask(visitor, "send_event", late).await, "thread_closed");
        visitor.request("logout", json!({})).await;
        assert_eq!(visitor.closed().await, Got::Closed(1000));
    }
}

#[tokio::test]
async fn who_began_while_routing_was_away_is_told_afterwards_that_the_queue_is_full() {
    found_too_late(|group| group.queue_max = Some(1), true, "queue_full").await;
}

#[tokio::test]
async fn who_began_while_routing_was_away_is_told_afterwards_that_nobody_is_there() {
    found_too_late(|group| group.when_offline = WhenOffline::Close, false, "group_offline").await;
}

#[tokio::test]
async fn an_offer_that_nobody_takes_goes_to_others() {
    let short = RoutingSettings { offer_to: Some(1), offer_s: Some(3), ..RoutingSettings::default() };
    let world = world_with(|group| {
        (group.strategy, group.routing) = (Strategy::Broadcast, short);
        group.members.truncate(2);
    })
    .await;
    let desk = Desk::over(world).await;
    let mut first = accepting(&desk, &desk.one, 0).await;
    let mut second = accepting(&desk, &desk.two, 1).await;
    let (_visitor, id) = desk.visitor(&desk.one, 1).await;
    let agents: Vec<Value> = desk.world.agents.iter().map(|agent| json!(agent)).collect();
    for client in [&mut first, &mut second] {
        for agent in agents[..2].chunks(1) {
            offered(client, id, agent).await;
        }
    }
}
