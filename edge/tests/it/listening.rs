//! Who only listens stays: the edge asks before it takes silence for death.

use std::time::Duration;

use ops::{
    client::{Options, Phase, Tokens},
    testing::wait_for,
};
use serde_json::json;
use tokio::time::{Instant, interval};

use crate::{
    client::{Client, frame, message},
    world::World,
};

const DEAD_AFTER: Duration = Duration::from_millis(1_500);
/// More than three times as long as who says nothing at all would stay.
const MESSAGES: u32 = 50;
const EVERY: Duration = Duration::from_millis(100);
const DEAD_AFTER_SETTING: (&str, &str) = ("LIMIT_DEAD_AFTER_MS", "1500");

#[tokio::test]
async fn who_only_listens_and_answers_pings_stays() {
    let world = World::new().await;
    let edge = world.edge_with(&[DEAD_AFTER_SETTING]).await;
    let session = world.session(&edge, [1; 32], json!({ "initial_message": "Hello" })).await;
    let (token, conversation) = (session["token"].as_str().unwrap(), &session["conversation"]["id"]);
    let (mut writer, _) = Client::login(edge.at, token).await;
    let (mut listener, _) = Client::login(edge.at, token).await;
    let (began, mut pings) = (Instant::now(), 0);
    let mut ticks = interval(EVERY);
    for n in 0..MESSAGES {
        ticks.tick().await;
        let name = format!("m-{n}");
        writer.stored(message(conversation, &name, "x")).await;
        loop {
            let came = listener.find(|_| true).await;
            if let Some(payload) = came["ping"].as_str() {
                listener.raw(&frame(0x8a, payload.as_bytes())).await;
                pings += 1;
            }
            if came["payload"]["event"]["client_id"] == name.as_str() {
                break;
            }
        }
    }
    let took = began.elapsed();
    assert!(took > 3 * DEAD_AFTER, "{took:?}");
    let most = took.as_millis() / (DEAD_AFTER * 2 / 3).as_millis();
    assert!(pings >= 3 && pings <= most, "{pings} in {took:?}: one for each silence");
    assert!(!writer.read.iter().any(|frame| frame["ping"].is_string()), "who speaks is not asked");
    assert_eq!(listener.request("ping", json!({})).await["success"], true);
}

#[tokio::test]
async fn a_client_that_only_hears_is_not_disconnected() {
    let world = World::new().await;
    let edge = world.edge_with(&[DEAD_AFTER_SETTING]).await;
    let session = world.session(&edge, [1; 32], json!({ "initial_message": "Hello" })).await;
    let (token, conversation) = (session["token"].as_str().unwrap(), &session["conversation"]["id"]);
    let url = format!("http://{}", edge.at);
    let listener = ops::client::Client::start(Options::new(vec![url], Tokens::fixed(token)));
    listener.ready(Duration::from_secs(10)).await.unwrap();
    let (mut writer, _) = Client::login(edge.at, token).await;
    let mut ticks = interval(EVERY);
    for n in 0..MESSAGES {
        ticks.tick().await;
        writer.stored(message(conversation, &format!("m-{n}"), "x")).await;
    }
    let messages = u64::from(MESSAGES);
    wait_for(Duration::from_secs(10), "the last message", async || listener.counts().events >= messages)
        .await;
    let state = listener.state().borrow().clone();
    assert_eq!((state.phase, state.logins, listener.counts().disconnects), (Phase::Live, 1, 0));
}
