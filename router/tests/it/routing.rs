//! What one router does on a real bus.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use bus_schema::{
    Body, ErrorCode, GroupId,
    claims::Role,
    command::{Actor, Answer, Command},
    config::{GroupRecord, RoutingSettings},
    state::{RoutingStatus, Strategy, ThreadStatus},
};
use ops::{
    nats::{self, Options},
    nats_users::{BusUser, server_config},
    service::Service,
    testing::{NatsOptions, NatsServer, Scratch, wait_for},
};
use router::service::Turns;
use uuid::Uuid;

use crate::kit::*;

#[tokio::test]
async fn a_start_is_assigned_and_a_close_frees_the_slot_for_the_next() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::LeastLoaded, &[1]).await;
    let _router = kit.router(Turns::Lease).await;
    kit.come(agent(1)).await;
    kit.start(1).await;
    assert_eq!(kit.assigned(1).await, agent(1));
    let all = kit.everything().await;
    let decided = all.iter().filter_map(|logged| match &logged.event.body {
        Body::Decided(decided) => Some(decided.decision.took_us),
        _ => None,
    });
    let took: Vec<u64> = decided.collect();
    assert!(took.len() == 1 && (1..10_000_000).contains(&took[0]), "{took:?}");
    kit.start(2).await;
    wait_for(SOON, "the second to be told that it waits", async || kit.life(2).await.started_seq.is_some())
        .await;
    assert_eq!(kit.life(2).await.status, ThreadStatus::Queued);
    kit.close(1).await.unwrap();
    assert_eq!(kit.close(1).await.unwrap_err().code, ErrorCode::ThreadClosed);
    assert_eq!(kit.assigned(2).await, agent(1));
    kit.check().await;
}

#[tokio::test]
async fn a_queue_is_drained_in_order_when_an_agent_accepts() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::RoundRobin, &[30, 30]).await;
    for n in 1..=40 {
        kit.start(n).await;
    }
    let _router = kit.router(Turns::Lease).await;
    wait_for(SOON, "everyone to be told that they wait", async || {
        let Ok(Answer::Conversations { total, .. }) = kit
            .ask(
                Actor::agent(agent(9), Role::Supervisor),
                Command::ListConversations {
                    view: bus_schema::command::View::Queue,
                    group_id: None,
                    limit: 10,
                    cursor: None,
                },
            )
            .await
        else {
            return false;
        };
        total == 40
    })
    .await;
    kit.come(agent(1)).await;
    assert_eq!(kit.assigned(30).await, agent(1));
    assert!(kit.life(31).await.assignee_id.is_none());
    kit.come(agent(2)).await;
    assert_eq!(kit.assigned(40).await, agent(2));
    let report = kit.check().await;
    assert_eq!(report.open_threads, 40);
}

#[tokio::test]
async fn agents_of_a_dead_edge_lose_their_conversations_to_others() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::LeastLoaded, &[5, 5]).await;
    let _router = kit.router(Turns::Lease).await;
    kit.come(agent(1)).await;
    for n in 1..=3 {
        kit.start(n).await;
        assert_eq!(kit.assigned(n).await, agent(1));
    }
    kit.drop_lease().await;
    // The other one is on an edge that lives on.
    kit.edge = bus_schema::IncarnationId::from_uuid(uuid::Uuid::from_u128(0xE001));
    kit.leases.put(&bus_schema::stream::edge_lease(kit.edge), "{}").await.unwrap();
    kit.come(agent(2)).await;
    for n in 1..=3 {
        wait_for(SOON, "them to be reassigned", async || kit.life(n).await.assignee_id == Some(agent(2)))
            .await;
    }
    let state = kit.agent(agent(1)).await.unwrap();
    assert!(!state.is_connected() && state.conversations.is_empty());
    kit.check().await;
}

#[tokio::test]
async fn configuration_that_changes_is_followed() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::LeastLoaded, &[1]).await;
    let _router = kit.router(Turns::Lease).await;
    kit.come(agent(1)).await;
    kit.start(1).await;
    kit.start(2).await;
    kit.assigned(1).await;
    kit.configure(Strategy::LeastLoaded, &[2]).await;
    assert_eq!(kit.assigned(2).await, agent(1));
    assert_eq!(kit.agent(agent(1)).await.unwrap().capacity, 2);
    kit.check().await;
}

#[tokio::test]
async fn what_is_no_command_is_refused_with_a_reason() {
    let kit = Kit::new().await;
    let _router = kit.router(Turns::Lease).await;
    let subject = bus_schema::subject::commands(SHARD, TENANT);
    let answer =
        wait_for(SOON, "an answer", async || kit.bus.client.request(subject.clone(), "{}".into()).await)
            .await;
    let outcome: bus_schema::command::Outcome = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!(outcome.into_result().unwrap_err().code, ErrorCode::InvalidRequest);
}

#[tokio::test]
async fn the_rights_of_the_routers_bus_user_are_enough() {
    let dir = Scratch::new("users").unwrap();
    let seeds: BTreeMap<Service, PathBuf> =
        Service::ALL.into_iter().map(|s| (s, dir.path().join(format!("{s}.nk")))).collect();
    let users: Vec<_> =
        seeds.iter().map(|(service, path)| BusUser::load_or_generate(*service, path).unwrap()).collect();
    let config = server_config(&users, &[SHARD]);
    let server = NatsServer::with(NatsOptions { config, ..NatsOptions::default() }).await;
    let credentials = |service: Service| {
        let mut options = Options::new(server.url(), service.name());
        options.credentials = Some(seeds[&service].clone());
        options
    };
    let ops = nats::connect_with(credentials(Service::Ops)).await.unwrap();
    let edge = nats::connect_with(credentials(Service::Edge)).await.unwrap();
    let options = credentials(Service::Router);
    let mut kit = Kit::on(server, ops).await;
    kit.configure(Strategy::LeastLoaded, &[1]).await;
    kit.log = ops::log::Log::new(edge.clone(), SHARD);
    kit.bus = edge;
    let settings = ops::settings::Settings::from_pairs(Service::Router, &[]).unwrap();
    let context = ops::service::Context::new(settings);
    let bus = nats::connect_with(options).await.unwrap();
    let options = router::service::Options {
        shard: SHARD,
        turns: Turns::Lease,
        agent_grace: Duration::from_secs(20),
        open_max: None,
        place: "here".into(),
    };
    let task = tokio::spawn(router::service::route(context.clone(), bus, options));
    let _router = InProcess { context, task };
    kit.come(agent(1)).await;
    kit.start(1).await;
    assert_eq!(kit.assigned(1).await, agent(1));
    kit.set_status(agent(1), RoutingStatus::NotAccepting).await;
    // To know that nobody answers, it has to read what people say.
    kit.routing(RoutingSettings { answer_s: Some(1), ..RoutingSettings::default() }).await;
    wait_for(SOON, "it to wait again", async || kit.life(1).await.status == ThreadStatus::Queued).await;
    kit.close(1).await.unwrap();
}

#[tokio::test]
async fn what_was_made_a_moment_ago_is_known_to_the_first_command_that_names_it() {
    let mut kit = Kit::new().await;
    kit.configure(Strategy::Manual, &[100]).await;
    let _router = kit.router(Turns::Lease).await;
    kit.come(agent(1)).await;
    let supervisor = Actor::agent(agent(900), Role::Supervisor);
    for n in 0..100_u128 {
        let id = GroupId::from_uuid(Uuid::from_u128(0x6100 + n));
        kit.put_group(GroupRecord { group_id: id, ..kit.groups[&group()].clone() }).await;
        let (conversation_id, group_id) = (conversation(n), Some(id));
        let admit = Command::Admit { conversation_id, group_id, widget_id: None };
        let answer = kit.ask(Actor::visitor(visitor(n)), admit).await;
        assert_eq!(answer.unwrap(), Answer::Admitted { group_id }, "group {n}");
        // A thread of a moment ago is known as well.
        kit.start_in(n, group_id).await;
        let assign = Command::Assign { conversation_id, thread_id: None, agent_id: agent(1) };
        kit.ask(supervisor, assign).await.unwrap();
    }
    let group_id = Some(GroupId::from_uuid(Uuid::from_u128(0x6FFF)));
    let admit = Command::Admit { conversation_id: conversation(1), group_id, widget_id: None };
    let refused = kit.ask(Actor::visitor(visitor(1)), admit).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotFound, "there never was such a group");
}
