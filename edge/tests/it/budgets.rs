//! What may be stored: budgets of addresses, widgets and tenants, and the reserve of a log that fills.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bus_schema::{
    ConversationId, Lane, WidgetId,
    command::{Actor, Command},
    config::Record,
    state::CloseReason,
};
use ops::{chat, log::Write, testing::wait_for};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    client::{Client, message},
    counts::Counts,
    http::{self, Answer},
    signals::conversation,
    world::{Edge, World, widget},
};

async fn session_from(world: &World, at: SocketAddr, address: &str, more: Value) -> Answer {
    let body = world.session_body([9; 32], more).to_string();
    http::request(at, "POST", "/v1/widget/session", &[("x-forwarded-for", address)], &body).await
}

fn limited(answer: &Answer) -> u64 {
    assert_eq!(answer.problem(), (429, "rate_limited"));
    answer.retry_after().expect("it says when to come again")
}

/// A visitor with a conversation.
async fn talker(world: &World, edge: &Edge, key: u8) -> (Client, Value) {
    let session = world.session(edge, [key; 32], json!({ "initial_message": "Hello" })).await;
    let (client, _) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
    (client, session["conversation"]["id"].clone())
}

/// Sends `count` at once; gives how many were stored. The others were told `code`, and when to try again.
async fn stored_of(client: &mut Client, id: &Value, count: usize, text: &str, code: &str) -> usize {
    let mut asked = Vec::new();
    for _ in 0..count {
        let send = message(id, &Uuid::now_v7().simple().to_string(), text);
        asked.push(client.send("send_event", send).await);
    }
    let mut stored = 0;
    for asked in asked {
        let answer = client.answer(&asked).await;
        if answer["success"] == true {
            stored += 1;
            continue;
        }
        let error = &answer["payload"]["error"];
        assert_eq!((&error["code"], &error["retryable"]), (&json!(code), &json!(true)), "{answer}");
        assert!(error["after_ms"].as_u64().is_some_and(|after| after > 0), "{answer}");
    }
    stored
}

#[tokio::test]
async fn an_address_begins_so_many_sessions() {
    let (counts, world) = (Counts::begin(), World::new().await);
    let settings = [("LIMIT_SESSIONS_PER_MINUTE_PER_ADDRESS", "2"), ("TRUSTED_PROXIES", "127.0.0.1")];
    let edge = world.edge_with(&settings).await;
    for address in ["198.51.100.1", "2001:db8::1"] {
        for _ in 0..2 {
            assert_eq!(session_from(&world, edge.at, address, json!({})).await.status, 200);
        }
        let wait = limited(&session_from(&world, edge.at, address, json!({})).await);
        assert!((20..=30).contains(&wait), "at two a minute the next is there in 30 s: {wait}");
    }
    limited(&session_from(&world, edge.at, "2001:db8::2", json!({})).await);
    assert_eq!(session_from(&world, edge.at, "2001:db8:0:1::1", json!({})).await.status, 200);
    assert_eq!(counts.refused("sessions_per_address"), 3);
    for _ in 0..4 {
        let answer = session_from(&world, edge.at, "unknown", json!({})).await;
        assert_eq!(answer.status, 200, "whom the proxy does not name shares no key with strangers");
    }
}

#[tokio::test]
async fn a_widget_begins_so_many_sessions_and_others_go_on() {
    let (counts, world) = (Counts::begin(), World::new().await);
    let edge = world.edge_with(&[("LIMIT_SESSIONS_PER_MINUTE_PER_WIDGET", "2")]).await;
    let second = WidgetId::from_uuid(Uuid::now_v7());
    world.put(&Record::Widget(widget(world.tenant, second, "pk_second"))).await;
    for _ in 0..2 {
        world.session(&edge, [1; 32], json!({})).await;
    }
    limited(&session_from(&world, edge.at, "", json!({})).await);
    assert_eq!(counts.refused("sessions_per_widget"), 1);
    wait_for(Duration::from_secs(5), "the other widget to be known and open", async || {
        session_from(&world, edge.at, "", json!({ "widget_key": "pk_second" })).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_tenant_stores_so_many_events_and_its_neighbour_goes_on() {
    let (counts, world) = (Counts::begin(), World::new().await);
    let edge = world.edge_with(&[("LIMIT_EVENTS_PER_SECOND_PER_TENANT", "3")]).await;
    let neighbour = world.neighbour().await.key;
    let theirs = wait_for(Duration::from_secs(5), "the neighbour to be known", async || {
        let more = json!({ "widget_key": neighbour, "initial_message": "Hello" });
        let answer = http::post(edge.at, "/v1/widget/session", &world.session_body([2; 32], more)).await;
        (answer.status == 200).then_some(answer.body)
    })
    .await;
    let (mut other, _) = Client::login(edge.at, theirs["token"].as_str().unwrap()).await;
    let (mut client, id) = talker(&world, &edge, 1).await;
    let before = world.log.end().await.unwrap().last;
    let stored = stored_of(&mut client, &id, 30, "x", "rate_limited").await;
    assert!((1..20).contains(&stored), "{stored}");
    let after = world.log.end().await.unwrap().last;
    assert_eq!(after - before, stored as u64, "what is refused costs the log nothing");
    assert_eq!(counts.refused("tenant_events"), 30 - stored as u64);
    let theirs = theirs["conversation"]["id"].clone();
    assert_eq!(stored_of(&mut other, &theirs, 2, "x", "rate_limited").await, 2);
    // Marks are events as well.
    let mark = json!({ "conversation_id": id, "up_to_seq": after });
    stored_of(&mut client, &id, 10, "x", "rate_limited").await;
    let answer = client.request("mark_read", mark).await;
    assert_eq!(answer["payload"]["error"]["code"], "rate_limited", "{answer}");
    wait_for(Duration::from_secs(5), "a send to pass again", async || {
        stored_of(&mut client, &id, 1, "x", "rate_limited").await == 1
    })
    .await;
}

#[tokio::test]
async fn a_tenant_stores_so_many_bytes() {
    let (counts, world) = (Counts::begin(), World::new().await);
    let edge = world.edge_with(&[("LIMIT_BYTES_PER_SECOND_PER_TENANT", "20000")]).await;
    let (mut client, id) = talker(&world, &edge, 1).await;
    let stored = stored_of(&mut client, &id, 12, &"x".repeat(8_000), "rate_limited").await;
    assert!((1..12).contains(&stored), "{stored}");
    assert_eq!(counts.refused("tenant_bytes"), 12 - stored as u64);
    wait_for(Duration::from_secs(5), "a small one to pass", async || {
        stored_of(&mut client, &id, 1, "x", "rate_limited").await == 1
    })
    .await;
}

#[tokio::test]
async fn a_tenants_visitors_start_so_many_threads() {
    let (counts, world) = (Counts::begin(), World::new().await);
    let edge = world.edge_with(&[("LIMIT_STARTS_PER_SECOND_PER_TENANT", "1")]).await;
    let (mut client, id) = talker(&world, &edge, 1).await;
    let session = world.session(&edge, [2; 32], json!({})).await;
    let (mut second, _) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
    let mut refused = 0;
    for key in 3..6 {
        let more = json!({ "initial_message": "Hello" });
        let answer = http::post(edge.at, "/v1/widget/session", &world.session_body([key; 32], more)).await;
        if answer.status != 200 {
            limited(&answer);
            refused += 1;
        }
        let answer = second.request("start_thread", json!({})).await;
        if answer["success"] != true {
            assert_eq!(answer["payload"]["error"]["code"], "rate_limited", "{answer}");
            refused += 1;
        }
    }
    assert!(refused > 0);
    assert_eq!(counts.refused("tenant_starts"), refused);
    assert_eq!(stored_of(&mut client, &id, 10, "x", "rate_limited").await, 10, "who talks goes on");
}

/// What passes in a second, of as much as can be asked one after the other.
async fn rate(client: &mut Client, id: &Value) -> usize {
    let began = Instant::now();
    let mut stored = 0;
    while began.elapsed() < Duration::from_secs(1) {
        stored += stored_of(client, id, 1, "x", "rate_limited").await;
    }
    stored
}

#[tokio::test]
async fn a_budget_is_shared_by_the_edges_that_live() {
    let world = World::new().await;
    let settings = [("LIMIT_EVENTS_PER_SECOND_PER_TENANT", "20")];
    let first = world.edge_with(&settings).await;
    let second = world.edge_with(&settings).await;
    let (mut client, id) = talker(&world, &second, 1).await;
    wait_for(Duration::from_secs(20), "half of the budget at the second edge", async || {
        (8..=13).contains(&rate(&mut client, &id).await)
    })
    .await;
    first.stop().await;
    wait_for(Duration::from_secs(20), "the whole budget once it is alone", async || {
        (17..=23).contains(&rate(&mut client, &id).await)
    })
    .await;
}

/// Fills the log up to this part of its size.
async fn fill(world: &World, percent: u64) {
    let stranger = world.home(ConversationId::from_uuid(Uuid::now_v7())).lane(Lane::Msg).to_string();
    loop {
        let end = world.log.end().await.unwrap();
        if end.bytes * 100 >= end.bytes_max.unwrap() * percent {
            return;
        }
        world.log.publish(Write::new(stranger.clone(), vec![b' '; 2_048])).await.unwrap();
    }
}

#[tokio::test]
async fn a_log_that_fills_takes_no_marks_then_nothing_said_and_closes_to_the_end() {
    let counts = Counts::begin();
    let world = World::with_log_of(1 << 20).await;
    let edge = world.edge().await;
    let (mut client, id) = talker(&world, &edge, 1).await;
    let seq = async |client: &mut Client| {
        let answer =
            client.request("send_event", message(&id, &Uuid::now_v7().simple().to_string(), "x")).await;
        answer["payload"]["seq"].as_u64()
    };
    let mark = async |client: &mut Client, up_to: u64| {
        client.request("mark_read", json!({ "conversation_id": id, "up_to_seq": up_to })).await
    };
    let first = seq(&mut client).await.unwrap();
    assert_eq!(mark(&mut client, first).await["success"], true, "below all bounds");
    fill(&world, 80).await;
    let answer = wait_for(Duration::from_secs(10), "marks to be refused", async || {
        let answer = mark(&mut client, first).await;
        (answer["success"] != true).then_some(answer)
    })
    .await;
    let error = &answer["payload"]["error"];
    assert_eq!((&error["code"], &error["retryable"]), (&json!("unavailable"), &json!(true)), "{answer}");
    assert!(error["after_ms"].as_u64().is_some_and(|after| after > 0));
    assert!(counts.refused("reserve_marks") >= 1);
    assert!(seq(&mut client).await.is_some(), "what is said is stored still");
    let (_other, second) = talker(&world, &edge, 2).await;
    fill(&world, 90).await;
    wait_for(Duration::from_secs(10), "sends to be refused", async || {
        stored_of(&mut client, &id, 1, "x", "unavailable").await == 0
    })
    .await;
    let start = world.session_body([3; 32], json!({ "initial_message": "Hello" }));
    let answer = http::post(edge.at, "/v1/widget/session", &start).await;
    assert_eq!(answer.problem(), (503, "unavailable"));
    assert!(answer.retry_after().is_some());
    assert!(counts.refused("reserve_events") >= 2);
    assert_eq!(mark(&mut client, first).await["payload"]["error"]["code"], "unavailable");
    // The rest is for this.
    world.close(conversation(&second)).await;
    assert_eq!(
        http::post(edge.at, "/v1/widget/session", &world.session_body([4; 32], json!({}))).await.status,
        200
    );
}

#[tokio::test]
async fn a_tenants_visitors_have_so_many_conversations_open() {
    let world = World::new().await;
    let _router = world.routed_with(Some(2)).await;
    let edge = world.edge().await;
    let hello = || json!({ "initial_message": "Hello" });
    let (mut first, _) = talker(&world, &edge, 1).await;
    let (_second, id) = talker(&world, &edge, 2).await;
    let session = world.session(&edge, [3; 32], json!({})).await;
    let (mut third, _) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
    let answer = third.request("start_thread", json!({})).await;
    let error = &answer["payload"]["error"];
    assert_eq!((&error["code"], &error["retryable"]), (&json!("rate_limited"), &json!(true)), "{answer}");
    assert!(error["after_ms"].as_u64().is_some_and(|after| after > 0), "{answer}");
    let refused = http::post(edge.at, "/v1/widget/session", &world.session_body([4; 32], hello())).await;
    assert!(limited(&refused) > 0);
    // Who has one open already starts none.
    assert_eq!(first.request("start_thread", json!({})).await["success"], true);
    world.session(&edge, [1; 32], hello()).await;
    let close =
        Command::Close { conversation_id: conversation(&id), thread_id: None, reason: CloseReason::Resolved };
    let (shard, within) = (world.log.shard(), Duration::from_secs(10));
    let close = chat::command(Actor::SYSTEM, close);
    chat::ask(&world.bus, shard, world.tenant, &close, within).await.unwrap();
    wait_for(Duration::from_secs(10), "a start to be let in", async || {
        third.request("start_thread", json!({})).await["success"] == true
    })
    .await;
}
