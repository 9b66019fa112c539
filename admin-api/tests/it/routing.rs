//! Commands over HTTP, carried out by a real router.

use std::time::Duration;

use bus_schema::Shard;
use ops::{
    log::Log,
    testing::{Process, wait_for},
};
use reqwest::Method;
use serde_json::json;

use crate::{
    chat::{Chat, persister},
    world::{BusServer, World},
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
        let why = world.get(&ann, &format!("{base}/routing")).await.is(200);
        assert!(!why.body["data"].as_array().unwrap().is_empty(), "the queueing has its reasons");
        assert_eq!((&why.body["waits"], &why.body["mine"]), (&json!(null), &json!(null)));
    }
}
