//! What clients may put on the wire: RFC 6455, and the close codes for the rest.

use std::{collections::VecDeque, time::Duration};

use bus_schema::{claims::Role, limits::LOGIN_WITHIN_MS};
use ops::testing::wait_for;
use serde_json::json;

use crate::{
    client::{Client, Got, frame, login},
    world::World,
};

#[tokio::test]
async fn frames_that_break_the_rules_end_with_the_code_of_the_table() {
    let world = World::new().await;
    let edge = world.edge_with(&[("LIMIT_MESSAGE_BYTES", "2000")]).await;
    let whole = |frames: &[(u8, &[u8])]| frames.iter().flat_map(|(first, p)| frame(*first, p)).collect();
    let big = vec![b'x'; 2_001];
    let many: Vec<u8> = (0..100).flat_map(|n| frame(u8::from(n == 0), b"x")).collect();
    let huge = [&[0x81, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("unmasked", vec![0x81, 0x02, b'{', b'}'], 1002),
        ("reserved bit", whole(&[(0xc1, b"{}")]), 1002),
        ("unknown opcode", whole(&[(0x83, b"")]), 1002),
        ("unknown control opcode", whole(&[(0x8b, b"")]), 1002),
        ("fragmented ping", whole(&[(0x09, b"x")]), 1002),
        ("long ping", whole(&[(0x89, &[b'x'; 126])]), 1002),
        ("continuation of nothing", whole(&[(0x80, b"x")]), 1002),
        ("message in a message", whole(&[(0x01, b"{"), (0x81, b"}")]), 1002),
        ("close with one byte", whole(&[(0x88, b"x")]), 1002),
        ("close with a code of nobody", whole(&[(0x88, &[0x03, 0xec])]), 1002),
        ("length not in its shortest form", vec![0x81, 0xfe, 0, 2, 0, 0, 0, 0, b'{', b'}'], 1002),
        ("text that is not UTF-8", whole(&[(0x81, &[0xc3, 0x28])]), 1007),
        ("fragments that are not UTF-8", whole(&[(0x01, &[0xc3]), (0x80, &[0x28])]), 1007),
        ("close reason that is not UTF-8", whole(&[(0x88, &[0x03, 0xe8, 0xc3])]), 1007),
        ("too large", whole(&[(0x81, &big)]), 1009),
        ("too large in fragments", whole(&[(0x01, &big[..1_500]), (0x80, &big[..1_500])]), 1009),
        ("a length of a terabyte", huge, 1009),
        ("too many fragments", many, 1009),
    ];
    for (name, bytes, code) in cases {
        let mut client = Client::connect(edge.at, None).await.unwrap();
        client.raw(&bytes).await;
        assert_eq!(client.closed().await, Got::Closed(code), "{name}");
    }
}

#[tokio::test]
async fn what_rfc_6455_allows_is_understood() {
    let world = World::new().await;
    let edge = world.edge().await;
    let mut client = Client::connect(edge.at, None).await.unwrap();
    client.push("hello").await;
    let ping = br#"{"request_id":"1","action":"ping"}"#;
    let (head, tail) = ping.split_at(10);
    client.raw(&frame(0x01, head)).await;
    client.raw(&frame(0x89, b"between")).await;
    client.raw(&frame(0x00, b"")).await;
    client.raw(&frame(0x80, tail)).await;
    assert_eq!(client.find(|frame| frame["pong"] == "between").await["pong"], "between");
    assert_eq!(client.answer("1").await["success"], true);
    client.raw(&frame(0x8a, b"an unasked pong")).await;
    // Byte by byte.
    for byte in frame(0x81, ping) {
        client.raw(&[byte]).await;
    }
    assert_eq!(client.answer("1").await["success"], true);
    client.raw(&frame(0x88, &[0x03, 0xe8, b'b', b'y', b'e'])).await;
    assert_eq!(client.closed().await, Got::Closed(1000));
}

#[tokio::test]
async fn three_frames_that_are_no_requests_close_the_connection() {
    let world = World::new().await;
    let edge = world.edge().await;
    let mut client = Client::connect(edge.at, None).await.unwrap();
    for bad in ["hello", "[]", r#"{"action":"ping"}"#] {
        client.text(bad).await;
        assert_eq!(client.push("error").await["error"]["code"], "invalid_request", "{bad}");
    }
    assert_eq!(client.closed().await, Got::Closed(3505));
}

#[tokio::test]
async fn silence_is_closed() {
    let world = World::new().await;
    let edge = world.edge_with(&[("LIMIT_DEAD_AFTER_MS", "300")]).await;
    let mut silent = Client::connect(edge.at, None).await.unwrap();
    let mut stranger = Client::connect(edge.at, None).await.unwrap();
    assert_eq!(stranger.request("ping", json!({})).await["success"], true);
    let session = world.session(&edge, [1; 32], json!({})).await;
    let (mut visitor, _) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
    assert_eq!(visitor.closed().await, Got::Closed(3003));
    let pings = |client: &Client| client.seen().filter(|frame| frame["ping"].is_string()).count();
    assert_eq!(pings(&visitor), 1, "one silence, one ping");
    assert_eq!(stranger.closed().await, Got::Closed(3500), "no login within 5 s");
    assert_eq!(silent.closed().await, Got::Closed(3003), "the network may have swallowed the login");
    assert_eq!(pings(&stranger) + pings(&silent), 0, "none before the login");
}

#[tokio::test]
async fn a_login_that_came_while_the_edge_stood_still_counts() {
    let world = World::new().await;
    let edge = world.edge().await;
    let session = world.session(&edge, [1; 32], json!({})).await;
    let mut client = Client::connect(edge.at, None).await.unwrap();
    client.push("hello").await;
    let id = client.send("login", login(session["token"].as_str().unwrap(), json!({}))).await;
    // This thread is all that the edge runs on: as if its machine had given it no time.
    std::thread::sleep(Duration::from_millis(LOGIN_WITHIN_MS + 100));
    assert_eq!(client.answer(&id).await["success"], true);
}

#[tokio::test]
async fn frames_that_are_pings_are_no_silence() {
    let world = World::new().await;
    let edge = world.edge_with(&[("LIMIT_DEAD_AFTER_MS", "1000")]).await;
    let session = world.session(&edge, [1; 32], json!({})).await;
    let (mut visitor, _) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
    let mut pings = tokio::time::interval(Duration::from_millis(100));
    for n in 0..20 {
        pings.tick().await;
        let said = format!("{n}");
        visitor.raw(&frame(0x89, said.as_bytes())).await;
        visitor.find(|frame| frame["pong"] == said.as_str()).await;
    }
    assert_eq!(visitor.request("ping", json!({})).await["success"], true);
}

#[tokio::test]
async fn a_message_that_does_not_end_is_closed() {
    let world = World::new().await;
    let edge = world.edge_with(&[("LIMIT_DEAD_AFTER_MS", "1000")]).await;
    let session = world.session(&edge, [1; 32], json!({})).await;
    let (mut visitor, _) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
    visitor.raw(&frame(0x01, b"{")).await;
    let mut fragments = tokio::time::interval(Duration::from_millis(100));
    // Neither its fragments nor pings between them give it more time: endless ones would end with 1009.
    let mut n = 0;
    let ended = loop {
        tokio::select! {
            got = visitor.read() => match got {
                Got::Frame(_) => {}
                ended => break ended,
            },
            _ = fragments.tick() => {
                n += 1;
                visitor.raw(&frame(if n % 2 == 0 { 0x89 } else { 0x00 }, b" ")).await;
            }
        }
    };
    assert_eq!(ended, Got::Closed(3003));
}

#[tokio::test]
async fn the_oldest_connection_beyond_the_limit_is_closed() {
    let world = World::new().await;
    let limits = [("LIMIT_CONNECTIONS_PER_VISITOR", "2"), ("LIMIT_CONNECTIONS_PER_AGENT", "3")];
    let edge = world.edge_with(&limits).await;
    let session = world.session(&edge, [1; 32], json!({})).await;
    let agent = world.agents[0];
    // Each token of an agent is another session of the same person.
    let visitor = || session["token"].as_str().unwrap().to_owned();
    let staff = || world.staff_token(agent, Role::Agent);
    for (limit, token) in [(2, &visitor as &dyn Fn() -> String), (3, &staff)] {
        let mut open = VecDeque::new();
        for n in 0..2 * limit {
            open.push_back(Client::login(edge.at, &token()).await.0);
            if n >= limit {
                let mut oldest = open.pop_front().unwrap();
                assert_eq!(oldest.closed().await, Got::Closed(3504));
            }
            for client in &mut open {
                assert_eq!(client.request("ping", json!({})).await["success"], true);
            }
        }
    }
}

#[tokio::test]
async fn a_flood_of_sends_is_refused_by_name_and_recovers() {
    let world = World::new().await;
    let edge = world.edge_with(&[("LIMIT_EVENTS_PER_SECOND", "20"), ("LIMIT_EVENTS_BURST", "5")]).await;
    let session = world.session(&edge, [1; 32], json!({ "initial_message": "Hello" })).await;
    let conversation = session["conversation"]["id"].clone();
    let (mut client, _) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
    let mut refused = 0;
    for n in 0..12 {
        let send = crate::client::message(&conversation, &format!("m-{n}"), "x");
        let answer = client.request("send_event", send).await;
        if answer["success"] != true {
            let error = &answer["payload"]["error"];
            assert_eq!((&error["code"], &error["retryable"]), (&json!("rate_limited"), &json!(true)));
            assert!(error["after_ms"].as_u64().is_some());
            refused += 1;
        }
    }
    assert!(refused > 0);
    let mut n = 100;
    wait_for(Duration::from_secs(5), "a send to pass again", async || {
        n += 1;
        let send = crate::client::message(&conversation, &format!("m-{n}"), "x");
        client.request("send_event", send).await["success"] == true
    })
    .await;
}

#[tokio::test]
async fn starting_with_an_event_is_no_way_around_the_rate() {
    let world = World::new().await;
    let edge = world.edge_with(&[("LIMIT_EVENTS_PER_SECOND", "1"), ("LIMIT_EVENTS_BURST", "2")]).await;
    let session = world.session(&edge, [1; 32], json!({})).await;
    let (mut client, _) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
    let mut codes = Vec::new();
    for n in 0..6 {
        let event = json!({ "kind": "message", "client_id": format!("m-{n}"), "data": { "text": "x" } });
        let answer = client.request("start_thread", json!({ "initial_event": event })).await;
        codes.push(answer["payload"]["error"]["code"].clone());
    }
    assert_eq!(codes[0], json!(null), "the first one passes");
    assert!(codes.contains(&json!("rate_limited")), "{codes:?}");
}
