//! How many may come in: connections, sockets before their login, logins; by edge and by address.

use std::{net::SocketAddr, time::Duration};

use ops::{
    service::Service,
    settings::{Kind, table::SETTINGS},
    testing::wait_for,
};
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};

use crate::{
    client::{Client, Got, login, message},
    counts::Counts,
    http::Answer,
    world::World,
};

const SOON: Duration = Duration::from_secs(10);

/// A connection from another address of this machine.
async fn from(address: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

async fn refused(to: SocketAddr, headers: &[(&str, &str)]) -> Answer {
    match Client::connect_with(to, headers).await {
        Ok(_) => panic!("{headers:?} was let in"),
        Err(answer) => answer,
    }
}

/// Told to come back at a moment of its own, and closed with 3004.
async fn sent_away(mut client: Client) -> u64 {
    let closing = client.push("closing").await;
    assert_eq!((&closing["reason"], &closing["reconnect"]), (&json!("overloaded"), &json!(true)));
    assert_eq!(client.closed().await, Got::Closed(3004));
    closing["after_ms"].as_u64().unwrap()
}

#[tokio::test]
async fn an_edge_takes_so_many_connections_and_tells_the_rest_to_come_back() {
    let (counts, world) = (Counts::begin(), World::new().await);
    let edge = world.edge_with(&[("LIMIT_CONNECTIONS", "2")]).await;
    // The one that looked whether the edge listens may still be open.
    let mut clients = Vec::new();
    wait_for(SOON, "two places", async || {
        if let Ok(client) = Client::connect(edge.at, None).await {
            clients.push(client);
        }
        clients.len() == 2
    })
    .await;
    let before = counts.refused("connections");
    let answer = refused(edge.at, &[]).await;
    assert_eq!(answer.problem(), (503, "unavailable"));
    assert!(answer.retry_after().is_some_and(|seconds| seconds > 0));
    assert_eq!(counts.refused("connections"), before + 1);
    clients.pop();
    wait_for(SOON, "the place that was given back", async || Client::connect(edge.at, None).await).await;
}

#[tokio::test]
async fn an_address_takes_so_many_connections_whatever_it_says_of_itself() {
    let (counts, world) = (Counts::begin(), World::new().await);
    let edge = world.edge_with(&[("LIMIT_CONNECTIONS_PER_ADDRESS", "2")]).await;
    let mut clients = Vec::new();
    wait_for(SOON, "two places", async || {
        if let Ok(client) = Client::connect(edge.at, None).await {
            clients.push(client);
        }
        clients.len() == 2
    })
    .await;
    let before = counts.refused("connections_per_address");
    for headers in [[("x-forwarded-for", "198.51.100.1")], [("forwarded", "for=198.51.100.2")]] {
        let answer = refused(edge.at, &headers).await;
        assert_eq!(answer.problem(), (429, "rate_limited"), "nobody trusts {headers:?}");
        assert!(answer.retry_after().is_some_and(|seconds| seconds > 0));
    }
    assert_eq!(counts.refused("connections_per_address"), before + 2);
    let other = from("127.0.0.2", edge.at).await;
    assert!(Client::shake_hands(other, &[]).await.is_ok(), "another address has its own");
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_address_that_it_names_counts() {
    let (counts, world) = (Counts::begin(), World::new().await);
    let settings = [("LIMIT_CONNECTIONS_PER_ADDRESS", "2"), ("TRUSTED_PROXIES", "127.0.0.0/8")];
    let edge = world.edge_with(&settings).await;
    let mut kept = Vec::new();
    let mut expected = 0;
    for (header, own, other) in [
        ("x-forwarded-for", ["198.51.100.1", "6.6.6.6, 198.51.100.1", "198.51.100.1:4711"], "198.51.100.2"),
        ("x-forwarded-for", ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:3"], "2001:db8:0:1::1"),
        (
            "forwarded",
            ["for=203.0.113.1", "for=203.0.113.1;proto=https", "For=\"203.0.113.1:80\""],
            "for=203.0.113.2",
        ),
        (
            "forwarded",
            ["for=\"[2001:db8:9::1]\"", "for=\"[2001:db8:9::2]:80\"", "for=\"[2001:db8:9::3]\""],
            "for=\"[2001:db8:9:1::1]\"",
        ),
    ] {
        for named in &own[..2] {
            let client = Client::connect_with(edge.at, &[(header, named)]).await;
            kept.push(client.unwrap_or_else(|answer| panic!("{named} {answer:?}")));
        }
        let answer = refused(edge.at, &[(header, own[2])]).await;
        assert_eq!(answer.problem(), (429, "rate_limited"), "{header}");
        assert!(answer.retry_after().is_some_and(|seconds| seconds > 0));
        expected += 1;
        assert_eq!(counts.refused("connections_per_address"), expected);
        kept.push(Client::connect_with(edge.at, &[(header, other)]).await.unwrap());
        // A place is given back with its socket.
        kept.remove(kept.len() - 3);
        wait_for(SOON, "the place that was given back", async || {
            Client::connect_with(edge.at, &[(header, own[0])]).await.is_ok()
        })
        .await;
        expected = counts.refused("connections_per_address");
    }
    // Whom the proxy does not name shares no key with strangers.
    for named in
        [&[][..], &[("x-forwarded-for", "")], &[("x-forwarded-for", "unknown")], &[("forwarded", "for=_x")]]
    {
        for _ in 0..3 {
            kept.push(Client::connect_with(edge.at, named).await.unwrap());
        }
    }
}

#[tokio::test]
async fn limits_as_large_as_they_may_be_limit_nobody() {
    let world = World::new().await;
    let limits = SETTINGS.iter().filter(|setting| setting.services.contains(&Service::Edge));
    let limits: Vec<(&str, String)> = limits
        .filter_map(|setting| match setting.kind {
            Kind::Int(0, most) if setting.name.starts_with("LIMIT_") => {
                Some((setting.name, most.to_string()))
            }
            _ => None,
        })
        .collect();
    assert!(limits.len() > 20, "{limits:?}");
    let limits: Vec<(&str, &str)> = limits.iter().map(|(name, most)| (*name, most.as_str())).collect();
    let edge = world.edge_with(&limits).await;
    let session = world.session(&edge, [1; 32], json!({ "initial_message": "Hello" })).await;
    let (mut client, _) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
    let sent = client.request("send_event", message(&session["conversation"]["id"], "c-1", "Hi")).await;
    assert_eq!(sent["success"], true, "{sent}");
}

#[tokio::test]
async fn sockets_that_do_not_log_in_are_bounded_by_address_and_by_edge() {
    let (counts, world) = (Counts::begin(), World::new().await);
    for (setting, limit) in [
        ("LIMIT_WAITING_LOGINS_PER_ADDRESS", "waiting_logins_per_address"),
        ("LIMIT_WAITING_LOGINS", "waiting_logins"),
    ] {
        let edge = world.edge_with(&[(setting, "1")]).await;
        let session = world.session(&edge, [1; 32], json!({})).await;
        let mut first = Client::connect(edge.at, None).await.unwrap();
        first.push("hello").await;
        let mut told = Vec::new();
        for _ in 0..5 {
            let mut late = Client::connect(edge.at, None).await.unwrap();
            late.push("hello").await;
            told.push(sent_away(late).await);
        }
        assert!(told.iter().all(|after| (1_000..10_000).contains(after)), "{told:?}");
        told.dedup();
        assert!(told.len() > 1, "each at a moment of its own");
        assert_eq!(counts.refused(limit), 5);
        let answer = first.request("login", login(session["token"].as_str().unwrap(), json!({}))).await;
        assert_eq!(answer["success"], true, "{answer}");
        let mut next = Client::connect(edge.at, None).await.unwrap();
        assert_eq!(next.request("ping", json!({})).await["success"], true, "who logged in waits no more");
        drop((first, next));
    }
}

#[tokio::test]
async fn an_address_logs_in_so_often() {
    let (counts, world) = (Counts::begin(), World::new().await);
    let edge = world.edge_with(&[("LIMIT_SOCKET_LOGINS_PER_MINUTE_PER_ADDRESS", "2")]).await;
    let session = world.session(&edge, [1; 32], json!({})).await;
    let token = session["token"].as_str().unwrap();
    let (mut first, _) = Client::login(edge.at, token).await;
    let (_second, _) = Client::login(edge.at, token).await;
    let mut third = Client::connect(edge.at, None).await.unwrap();
    let answer = third.request("login", login(token, json!({}))).await;
    let error = &answer["payload"]["error"];
    assert_eq!((&error["code"], &error["retryable"]), (&json!("rate_limited"), &json!(true)), "{answer}");
    // At two a minute the next is there in 30 s.
    let told = error["after_ms"].as_u64().unwrap();
    assert!((20_000..41_000).contains(&told), "{told}");
    assert_eq!(sent_away(third).await, told);
    assert_eq!(counts.refused("logins_per_address"), 1);
    assert_eq!(first.request("ping", json!({})).await["success"], true, "who is in stays");
}

#[tokio::test]
async fn logins_take_turns_and_who_waits_too_long_is_told_to_come_back() {
    let counts = Counts::begin();
    let mut world = World::new().await;
    let edge = world.edge_with(&[("LIMIT_LOGINS_AT_ONCE", "1")]).await;
    let session = world.session(&edge, [1; 32], json!({})).await;
    let token = session["token"].as_str().unwrap();
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = Client::connect(edge.at, None).await.unwrap();
        client.push("hello").await;
        clients.push(client);
    }
    // What a login reads does not come.
    world.nats.pause();
    let mut asked = Vec::new();
    for mut client in clients {
        let id = client.send("login", login(token, json!({}))).await;
        asked.push((client, id));
    }
    let mut waited = 0;
    for (mut client, id) in asked {
        let answer = client.answer(&id).await;
        let error = &answer["payload"]["error"];
        assert_eq!((&error["code"], &error["retryable"]), (&json!("unavailable"), &json!(true)), "{answer}");
        // Whose turn it was reads in vain; the edge cannot vouch for what it shows them.
        match client.closed().await {
            Got::Closed(3002) => {}
            Got::Closed(3004) => {
                assert_eq!(error["after_ms"], client.push("closing").await["after_ms"]);
                waited += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(waited >= 1, "who never had a turn is told to come back");
    assert!(counts.refused("login_queue") >= 1);
    world.nats.resume();
    wait_for(SOON, "a login once the bus is back", async || {
        let mut client = Client::connect(edge.at, None).await.unwrap();
        client.request("login", login(token, json!({}))).await["success"] == true
    })
    .await;
}

#[tokio::test]
async fn requests_in_flight_of_a_connection_are_bounded() {
    let counts = Counts::begin();
    let mut world = World::new().await;
    let edge = world.edge_with(&[("LIMIT_REQUESTS_IN_FLIGHT", "2")]).await;
    let session = world.session(&edge, [1; 32], json!({ "initial_message": "Hello" })).await;
    let (mut client, _) = Client::login(edge.at, session["token"].as_str().unwrap()).await;
    world.nats.pause();
    let page = json!({ "conversation_id": session["conversation"]["id"] });
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(client.send("list_events", page.clone()).await);
    }
    for id in &ids[2..] {
        let error = &client.answer(id).await["payload"]["error"];
        assert_eq!((&error["code"], &error["retryable"]), (&json!("rate_limited"), &json!(true)));
        assert!(error["after_ms"].as_u64().is_some_and(|after| after > 0));
    }
    assert_eq!(counts.refused("requests_in_flight"), 2);
    world.nats.resume();
    for id in &ids[..2] {
        client.answer(id).await;
    }
    assert_eq!(client.request("list_events", page).await["success"], true);
}
