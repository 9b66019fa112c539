//! Every list goes in pages that leave nothing out and show nothing twice.

use std::time::Duration;

use bus_schema::Shard;
use ops::{log::Log, testing::wait_for};
use serde_json::{Value, json};

use crate::{
    chat::{Chat, persister},
    routing::router,
    world::{BusServer, Person, World},
};

const EACH: usize = 5;
const PAGE: usize = 2;
const SOON: Duration = Duration::from_secs(20);

/// What tells the entries of any list apart.
fn key(entry: &Value) -> String {
    if entry["id"].is_null() { &entry["seq"] } else { &entry["id"] }.to_string()
}

async fn page(
    world: &World,
    who: &Person,
    path: &str,
    limit: usize,
    cursor: Option<&str>,
) -> (Vec<String>, Value) {
    let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
    let got = world.get(who, &format!("{path}?limit={limit}{cursor}")).await.is(200);
    let data = got.body["data"].as_array().unwrap();
    (data.iter().map(key).collect(), got.body["next_cursor"].clone())
}

async fn goes_in_pages(world: &World, who: &Person, path: &str) {
    let (all, end) = page(world, who, path, 200, None).await;
    assert!(all.len() >= EACH, "{path} has only {all:?}");
    assert_eq!(end, Value::Null, "{path}");
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let (some, next) = page(world, who, path, PAGE, cursor.as_deref()).await;
        seen.extend(some);
        let Some(next) = next.as_str().map(str::to_owned) else { break };
        assert!(seen.len() % PAGE == 0 && seen.len() < all.len(), "{path}: {seen:?} of {all:?}");
        cursor = Some(next);
    }
    assert_eq!(seen, all, "{path}");
}

/// What is said in the one thread alone.
fn said_in(turn: usize) -> String {
    format!("this is turn {turn}")
}

/// Threads of one conversation, each with the decision that it waits.
async fn threads(world: &World, ann: &Person, log: &Log, group: &str) -> Chat {
    let mut chat = Chat::start(log, &ann.tenant, Some(group), &said_in(0)).await;
    for turn in 0..EACH {
        if turn > 0 {
            chat = chat.again(group, &said_in(turn)).await;
        }
        let base = format!("/v1/conversations/{}", chat.id());
        wait_for(SOON, "the router to have looked at it", async || {
            let why = world.get(ann, &format!("{base}/routing?min_seq={}", chat.seq)).await;
            if why.body["waits"]["thread_id"] == chat.thread() { Ok(()) } else { Err(why.body.to_string()) }
        })
        .await;
        let closed = world.post(ann, &format!("{base}/close"), json!({})).await.is(200);
        world.get(ann, &format!("{base}?min_seq={}", closed.body["seq"])).await.is(200);
    }
    chat
}

async fn events(world: &World, who: &Person, path: &str) -> (Vec<Value>, Value) {
    let got = world.get(who, path).await.is(200).body;
    (got["data"].as_array().unwrap().clone(), got["next_cursor"].clone())
}

/// The events of each thread are those of the conversation that name it, whichever way one pages.
async fn each_thread_shows_its_own_events(world: &World, who: &Person, chat: &Chat) {
    let home = format!("/v1/conversations/{}", chat.id());
    let whole = events(world, who, &format!("{home}/events?limit=200")).await.0;
    let threads = world.get(who, &format!("{home}/threads")).await.is(200).body;
    let threads: Vec<_> =
        threads["data"].as_array().unwrap().iter().map(|thread| thread["id"].clone()).collect();
    assert_eq!(threads.len(), EACH);
    for (turn, thread) in threads.iter().enumerate() {
        let own: Vec<_> = whole.iter().filter(|event| event["thread_id"] == *thread).cloned().collect();
        assert!(own.len() > PAGE && own.len() < whole.len(), "{turn}: {own:?}");
        let path = format!("/v1/threads/{}/events?limit={PAGE}", thread.as_str().unwrap());
        let mut by_cursor = Vec::new();
        let mut next = Some(path.clone());
        while let Some(at) = next {
            let (some, cursor) = events(world, who, &at).await;
            by_cursor.extend(some);
            next = cursor.as_str().map(|cursor| format!("{path}&cursor={cursor}"));
        }
        assert_eq!(by_cursor, own, "{turn} by cursor");
        let seq = |event: Option<&Value>| event.map(|event| event["seq"].to_string());
        let (mut up, mut down) = (Vec::<Value>::new(), Vec::<Value>::new());
        while up.len() < own.len() {
            let after = seq(up.last()).unwrap_or_else(|| "0".to_owned());
            let some = events(world, who, &format!("{path}&after_seq={after}")).await.0;
            assert!(!some.is_empty() && some.len() <= PAGE, "{turn} after {after}: {some:?}");
            up.extend(some);
        }
        while down.len() < own.len() {
            let before = seq(down.first()).unwrap_or_else(|| u64::MAX.to_string());
            let some = events(world, who, &format!("{path}&before_seq={before}")).await.0;
            assert!(!some.is_empty() && some.len() <= PAGE, "{turn} before {before}: {some:?}");
            down.splice(0..0, some);
        }
        assert_eq!((&up, &down), (&own, &own), "{turn} up and down");
        let transcript = format!("{home}/transcript?thread_id={}", thread.as_str().unwrap());
        let transcript = world.get(who, &transcript).await.is(200).body;
        let transcript = transcript.as_str().unwrap();
        for said in 0..EACH {
            assert_eq!(transcript.contains(&said_in(said)), said == turn, "{turn}: {transcript}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_shows_all_of_it_once_and_in_order_by_its_pages() {
    let server = BusServer::start().await;
    let world = World::on(&server).await;
    persister(&world).await;
    let _router = router(&world).await;
    let ann = world.register("acme").await;
    let post = async |path: &str, body: Value| world.post(&ann, path, body).await.is(201).id();
    for n in 0..EACH {
        post("/v1/groups", json!({ "name": format!("Group {n}") })).await;
        post("/v1/widgets", json!({ "name": format!("Widget {n}") })).await;
        post("/v1/api-tokens", json!({ "name": format!("Token {n}"), "scopes": ["agents:read"] })).await;
        post("/v1/auth/me/devices", json!({ "platform": "web", "token": format!("device-{n}") })).await;
        world.login(&ann.email).await;
    }
    let group = post("/v1/groups", json!({ "name": "Support", "is_default": true })).await;
    let log = Log::new(world.bus().await, Shard(0));
    for _ in 1..EACH {
        Chat::start(&log, &ann.tenant, Some(&group), "hello").await;
    }
    let chat = threads(&world, &ann, &log, &group).await;
    let of_one = ["threads", "routing"].map(|list| format!("/v1/conversations/{}/{list}", chat.id()));
    let lists = [
        "groups",
        "widgets",
        "api-tokens",
        "auth/me/devices",
        "auth/sessions",
        "visitors",
        "conversations",
        "audit-log",
    ];
    let lists = lists.map(|list| format!("/v1/{list}"));
    for path in lists.iter().chain(&of_one) {
        goes_in_pages(&world, &ann, path).await;
    }
    each_thread_shows_its_own_events(&world, &ann, &chat).await;
}
