//! What HTTP takes in: in time, of bounded size, and every refusal a problem that says what is wrong.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{interval, timeout},
};

use crate::{http, world::World};

#[tokio::test]
async fn a_head_that_dawdles_is_cut_off() {
    let world = World::new().await;
    let edge = world.edge().await;
    let (began, mut sockets) = (Instant::now(), Vec::new());
    // Nothing at all, and a little at a time.
    for _ in 0..2 {
        sockets.push(TcpStream::connect(edge.at).await.unwrap());
    }
    let mut dribble = interval(Duration::from_millis(500));
    let (silent, slow) = sockets.split_at_mut(1);
    slow[0].write_all(b"GET /healthz HTTP/1.1\r\nhost: test\r\nx-long: ").await.unwrap();
    let ended = timeout(Duration::from_secs(20), async {
        let mut end = [0; 1024];
        loop {
            tokio::select! {
                read = slow[0].read(&mut end) => if matches!(read, Ok(0) | Err(_)) { break },
                _ = dribble.tick() => {}
            }
            let _ = slow[0].write_all(b"x").await;
        }
        loop {
            if matches!(silent[0].read(&mut end).await, Ok(0) | Err(_)) {
                break;
            }
        }
    });
    ended.await.expect("both are cut off");
    assert!(began.elapsed() >= Duration::from_secs(5), "and not before somebody slow had a chance");
}

#[tokio::test]
async fn heads_and_bodies_are_bounded() {
    let world = World::new().await;
    let edge = world.edge().await;
    let long = "x".repeat(200_000);
    let answer = http::request(edge.at, "GET", "/healthz", &[("x-long", &long)], "").await;
    assert_eq!(answer.status, 431);
    let answer = http::request(edge.at, "GET", &format!("/{long}"), &[], "").await;
    assert!(matches!(answer.status, 414 | 431), "{answer:?}");
    let body = world.session_body([1; 32], json!({ "name": "x".repeat(70_000) })).to_string();
    let answer = http::request(edge.at, "POST", "/v1/widget/session", &[], &body).await;
    assert_eq!(answer.problem(), (413, "too_large"));
    // Without saying beforehand how much it will be.
    let chunked = format!(
        "POST /v1/widget/session HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    assert_eq!(http::raw(edge.at, chunked.as_bytes()).await.problem(), (413, "too_large"));
}

#[tokio::test]
async fn wrong_paths_and_queries_are_problems() {
    let world = World::new().await;
    let edge = world.edge().await;
    let session = world.session(&edge, [1; 32], json!({ "initial_message": "Hello" })).await;
    let token = session["token"].as_str().unwrap();
    let own = format!("/v1/conversations/{}", session["conversation"]["id"].as_str().unwrap());
    for (path, problem, pointer) in [
        ("/v1/conversations/%ff".to_owned(), (400, "invalid_request"), None),
        ("/v1/widget/config/%ff".to_owned(), (400, "invalid_request"), None),
        ("/v1/conversations/x".to_owned(), (404, "not_found"), None),
        ("/v1/nowhere".to_owned(), (404, "not_found"), None),
        (format!("{own}/events?limit=many"), (400, "invalid_request"), Some("/limit")),
        (format!("{own}/events?limit=0"), (422, "invalid_request"), Some("/limit")),
        (format!("{own}/events?limit=201"), (422, "invalid_request"), Some("/limit")),
        (format!("{own}/events?color=1"), (400, "invalid_request"), Some("/color")),
        (format!("{own}/events?limit=%ff"), (400, "invalid_request"), Some("/limit")),
        (format!("{own}/events?limit=1&limit=2"), (400, "invalid_request"), Some("/limit")),
    ] {
        let answer = http::get_as(edge.at, &path, token).await;
        assert_eq!(answer.problem(), problem, "{path}");
        if let Some(pointer) = pointer {
            assert_eq!(answer.body["errors"][0]["pointer"], pointer, "{path} {answer:?}");
        }
    }
    let answer = http::request(edge.at, "DELETE", &own, &[], "").await;
    assert_eq!(answer.problem(), (405, "invalid_request"));
    assert!(answer.head.contains("allow: "), "{answer:?}");
    let answer = http::request(edge.at, "GET", "/v1/ws", &[], "").await;
    assert_eq!(answer.problem(), (426, "invalid_request"));
}
