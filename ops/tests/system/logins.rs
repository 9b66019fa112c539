//! Many who log in at once cost the memory of the few hashes that run at once, and nobody who chats notices.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use ops::{client::Visitor, testing::wait_for};
use serde_json::json;

use crate::{
    seed,
    staff::{Admin, PASSWORD},
    stalled::resident,
    traffic::{Plan, Traffic},
    verify,
    world::{Shape, World},
};

const LOGINS: usize = 200;
/// Hashes that admin-api runs at once, each of 19 MiB; the rest is what 200 requests need.
const HASHES: u64 = 4 * 19 * 1024 * 1024;
const REQUESTS: u64 = 48 * 1024 * 1024;
const WITHIN: Duration = Duration::from_secs(120);
const MEASURED: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_logins_at_once_hold_up_no_chat() {
    let env = [("CHATBUS_LIMIT_LOGINS_PER_MINUTE_PER_ADDRESS", "0")];
    let world = World::up(Shape { edges: 1, ..Shape::default() }, &env).await;
    let mut traffic = Traffic::start(&world, Plan::steady(&world, 20, seed())).await;
    let admin = Admin::login(&world).await;
    let admin_api = world.pids()["admin-api"][0];

    let quiet = sends(&traffic.visitors[0], MEASURED).await;
    let before = resident(admin_api);
    let http = reqwest::Client::new();
    // Every fourth is somebody, each of whom has tries enough.
    let login = async |n: usize| {
        let email = if n.is_multiple_of(4) {
            format!("agent-{}@example.com", n % 2)
        } else {
            format!("{n}@no.example")
        };
        let body = json!({ "email": email, "password": format!("{PASSWORD}{}", n % 3) });
        let answer = http.post(format!("{}/v1/auth/login", admin.url)).json(&body).send().await;
        answer.unwrap().status().as_u16()
    };
    let over = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(peak(admin_api, over.clone()));
    let began = Instant::now();
    let (answers, busy) =
        tokio::join!(join_all((0..LOGINS).map(login)), sends(&traffic.visitors[0], MEASURED));
    over.store(true, Ordering::Relaxed);
    let most = watching.await.unwrap();

    let count = |status: u16| answers.iter().filter(|got| **got == status).count();
    println!(
        "{LOGINS} logins at once in {:?}: {} refused, {} limited, {} told to come back",
        began.elapsed(),
        count(401),
        count(429),
        count(503)
    );
    println!("memory of admin-api: {before} B before, {most} B at most");
    println!(
        "a send took p50 {:?}, p99 {:?} before, p50 {:?}, p99 {:?} meanwhile",
        quiet.0, quiet.1, busy.0, busy.1
    );
    assert_eq!(count(401) + count(429) + count(503), LOGINS, "{answers:?}");
    assert!(most.saturating_sub(before) <= HASHES + REQUESTS, "{} B more", most - before);

    traffic.stop().await;
    let clients =
        traffic.visitors.iter().map(|visitor| &visitor.client).chain(traffic.agents.iter().map(|a| &**a));
    for client in clients {
        assert_eq!(client.counts().disconnects, 0, "a socket was closed");
    }
    verify::all_agree(&world, &traffic).await;
}

/// The largest resident size until it is over.
async fn peak(pid: u32, over: Arc<AtomicBool>) -> u64 {
    let mut most = 0;
    wait_for(WITHIN, "the logins to be over", async || {
        most = most.max(resident(pid));
        over.load(Ordering::Relaxed)
    })
    .await;
    most
}

/// How long sends take, one after the other: p50 and p99.
async fn sends(visitor: &Visitor, count: usize) -> (Duration, Duration) {
    let conversation = visitor.conversation.unwrap();
    let mut took = Vec::with_capacity(count);
    for n in 0..count {
        let began = Instant::now();
        visitor.client.send_text(conversation, &format!("probe {n}")).unwrap().done().await.unwrap();
        took.push(began.elapsed());
    }
    took.sort();
    (took[count / 2], took[count * 99 / 100])
}
