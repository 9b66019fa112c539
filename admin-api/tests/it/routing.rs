//! Commands over HTTP, carried out by a real router.

use std::time::Duration;

use bus_schema::{
    IncarnationId, Shard,
    command::{Actor, Command, PresenceReport},
    stream::{LEASES, edge_lease},
};
use ops::{
    kv::Kv,
    log::Log,
    testing::{Process, wait_for},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    chat::{Chat, persister},
    world::{BusServer, PASSWORD, Person, World},
};

const UP_WITHIN: Duration = Duration::from_secs(30);

pub async fn router(world: &World) -> Process {
    let listen = ops::dev::ports::free().unwrap();
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], listen));
    let router = Process::builder("router")
        .arg("run")
        .env("CHATBUS_NATS_URL", &world.nats_url)
        .env("CHATBUS_NATS_CREDS_FILE", world.anybody())
        .env("CHATBUS_OPS_LISTEN", listen.to_string())
        .ops_listener(listen);
    let mut router = router.spawn().unwrap();
    router.ready(UP_WITHIN).await;
    router
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_is_closed_by_command_and_the_answer_can_be_read_back() {
    let server = BusServer::start().await;
    let world = World::on(&server).await;
    persister(&world).await;
    let _router = router(&world).await;
    let ann = world.register("acme").await;
    let group =
        world.post(&ann, "/v1/groups", json!({ "name": "Support", "is_default": true })).await.is(201).id();
    let log = Log::new(world.bus().await, Shard(0));

    world.call(Method::PUT, &ann, "/v1/auth/status", json!({ "status": "accepting" })).await.is(200);
    let online = world.get(&ann, "/v1/agents/online").await.is(200);
    assert_eq!(online.body["data"], json!([]), "nobody has a connection");

    for (how, reason) in [("close", "closed_by_agent"), ("resolve", "resolved")] {
        let chat = Chat::start(&log, &ann.tenant, Some(&group), "hello").await;
        let base = format!("/v1/conversations/{}", chat.id());
        let other = json!({ "thread_id": "0190f3c2-5b7e-7c3a-9d4e-1f2a3b4c5d6e" });
        let refused = world.post(&ann, &format!("{base}/{how}"), other).await;
        assert_eq!(refused.status.as_u16(), 409, "{refused:?}");
        let routing = format!("{base}/routing?min_seq={}", chat.seq);
        let why = wait_for(UP_WITHIN, "the router to have looked at it", async || {
            let why = world.get(&ann, &routing).await.is(200);
            if why.body["waits"].is_null() { Err(why.body.to_string()) } else { Ok(why) }
        })
        .await;
        assert_eq!(why.body["waits"]["thread_id"], chat.thread(), "{:?}", why.body);
        assert_eq!(
            (&why.body["waits"]["position"], &why.body["waits"]["reason"]),
            (&json!(1), &json!("no_agent_accepting"))
        );
        let shown = wait_for(UP_WITHIN, "the conversation to say where it waits", async || {
            let shown = world.get(&ann, &base).await.is(200).body["thread"].clone();
            if shown["waiting_since"].is_null() { Err(shown.to_string()) } else { Ok(shown) }
        })
        .await;
        assert_eq!(shown["queue"]["position"], 1, "{shown}");
        let listed = world.get(&ann, "/v1/conversations?status=queued").await.is(200).body;
        let listed = &listed["data"][0]["thread"];
        assert_eq!((&listed["waiting_since"], &listed["queue"]), (&shown["waiting_since"], &json!(null)));
        let done = world.post(&ann, &format!("{base}/{how}"), json!({})).await.is(200);
        assert_eq!(done.body["thread_id"], chat.thread());
        world.post(&ann, &format!("{base}/{how}"), json!({})).await.problem(409, "thread_closed");
        let seq = done.body["seq"].as_u64().unwrap_or_default();
        let thread = format!("/v1/threads/{}?min_seq={seq}", chat.thread());
        let read = world.get(&ann, &thread).await.is(200);
        assert_eq!(
            (read.body["status"].as_str(), read.body["close_reason"].as_str()),
            (Some("closed"), Some(reason))
        );
        let shown = &world.get(&ann, &base).await.is(200).body["thread"];
        assert_eq!((&shown["waiting_since"], &shown["queue"]), (&json!(null), &json!(null)));
        let why = world.get(&ann, &format!("{base}/routing")).await.is(200);
        assert!(!why.body["data"].as_array().unwrap().is_empty(), "the queueing has its reasons");
        assert_eq!((&why.body["waits"], &why.body["mine"]), (&json!(null), &json!(null)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_told_of_an_agent_may_command_them_at_once() {
    let mut server = BusServer::start().await;
    let world = World::on(&server).await;
    let _router = router(&world).await;
    let ann = world.register("acme").await;
    let accepting = json!({ "status": "accepting" });
    for n in 0..10 {
        // Nothing reaches the bus before the command is on its way as well.
        server.nats.pause();
        let new = json!({ "email": format!("bob{n}@acme.example"), "name": "Bob", "role": "agent" });
        let id = world.post(&ann, "/v1/agents", new).await.is(201).id();
        let path = format!("/v1/agents/{id}/status");
        let command = world.call(Method::PUT, &ann, &path, accepting.clone());
        let (answer, ()) = tokio::join!(command, async { server.nats.resume() });
        answer.is(200);
    }
    let nobody = format!("/v1/agents/{}/status", uuid::Uuid::nil());
    world.call(Method::PUT, &ann, &nobody, accepting).await.problem(404, "not_found");
}

/// A connection of the agent's, as an edge reports it that stays alive.
pub async fn connects(world: &World, agent: &Person) {
    let (bus, edge) = (world.bus().await, IncarnationId::from_uuid(uuid::Uuid::now_v7()));
    let leases = Kv::open(&bus, LEASES).await.unwrap();
    leases.put(&edge_lease(edge), "{}").await.unwrap();
    let report = PresenceReport { agent_id: agent.id.parse().unwrap(), rev: 1, connections: 1 };
    let presence = Command::Presence { incarnation: edge, agents: vec![report] };
    let request = ops::chat::command(Actor::SYSTEM, presence);
    let answer = ops::chat::ask(&bus, Shard(0), agent.tenant.parse().unwrap(), &request, UP_WITHIN).await;
    answer.unwrap();
}

fn decisions(why: &Value) -> usize {
    why["data"].as_array().unwrap().iter().filter(|entry| entry["kind"] == "decided").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn explained_an_agent_is_told_why_they_got_it_and_others_are_not() {
    let server = BusServer::start().await;
    let world = World::on(&server).await;
    persister(&world).await;
    let _router = router(&world).await;
    let ann = world.register("acme").await;
    let group = json!({ "name": "Support", "is_default": true });
    let group = world.post(&ann, "/v1/groups", group).await.is(201).id();
    let member = format!("/v1/groups/{group}/members/{}", ann.id);
    world.call(Method::PUT, &ann, &member, json!({})).await;
    connects(&world, &ann).await;
    world.call(Method::PUT, &ann, "/v1/auth/status", json!({ "status": "accepting" })).await.is(200);
    let online = world.get(&ann, "/v1/agents/online").await.is(200);
    assert_eq!(online.body["data"][0]["id"], ann.id.as_str());

    let log = Log::new(world.bus().await, Shard(0));
    let chat = Chat::start(&log, &ann.tenant, Some(&group), "hello").await;
    let routing = format!("/v1/conversations/{}/routing", chat.id());
    let why = wait_for(UP_WITHIN, "the assignment to be read", async || {
        let answer = world.get(&ann, &routing).await;
        if answer.body["mine"].is_object() { Ok(answer.body) } else { Err(answer.body.to_string()) }
    })
    .await;
    let mine = &why["mine"];
    assert_eq!((&mine["rule"], &mine["chosen"]), (&json!("least_loaded"), &json!(ann.id)));
    let candidates = mine["decision"]["candidates"].as_array().unwrap();
    assert_eq!((candidates.len(), &candidates[0]["agent_id"]), (1, &json!(ann.id)));
    assert_eq!((&why["waits"], decisions(&why)), (&json!(null), 1));

    let other =
        json!({ "email": "eve@acme.example", "name": "Eve", "role": "supervisor", "password": PASSWORD });
    world.post(&ann, "/v1/agents", other).await.is(201);
    let eve = world.login("eve@acme.example").await;
    let why = world.get(&eve, &routing).await.is(200);
    assert_eq!((&why.body["mine"], decisions(&why.body)), (&json!(null), 1));
}
