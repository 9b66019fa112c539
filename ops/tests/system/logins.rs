//! Many who log in at once cost the memory of the few hashes that run at once, and nobody who chats notices.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
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
/// What admin-api says that it hashes at once, each in 19 MiB.
const HASHES: u64 = 4 * 19 * 1024 * 1024;
/// What 200 requests need besides.
const REQUESTS: u64 = 48 * 1024 * 1024;
const WITHIN: Duration = Duration::from_secs(120);
/// Sends that are timed before.
const TIMED: usize = 200;
/// No send takes longer meanwhile, on two cores that also hash: a client would repeat it then.
const SENT_WITHIN: Duration = Duration::from_secs(10);
const CONVERSATIONS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_logins_at_once_hold_up_no_chat() {
    let _turn = crate::turn().await;
    // Else the limits pace whom we time.
    let env = [
        "LOGINS_PER_MINUTE_PER_ADDRESS",
        "EVENTS_PER_SECOND",
        "EVENTS_BURST",
        "EVENTS_PER_SECOND_PER_TENANT",
    ]
    .map(|name| format!("CHATBUS_LIMIT_{name}"));
    let env: Vec<(&str, &str)> = env.iter().map(|name| (name.as_str(), "0")).collect();
    let world = World::up(Shape { edges: 1, ..Shape::default() }, &env).await;
    let mut traffic = Traffic::start(&world, Plan::steady(&world, CONVERSATIONS, seed())).await;
    let admin = Admin::login(&world).await;
    let admin_api = world.pids()["admin-api"][0];
    traffic.goes_on(CONVERSATIONS).await;

    let mut timed = 0..TIMED;
    let quiet = sends(&traffic.visitors[0], || timed.next().is_some()).await;
    let before = resident(admin_api);
    let (answers, busy, most, took) = crowd(&admin.url, admin_api, &traffic.visitors[0]).await;

    println!("a send before: {quiet:?}; meanwhile: {busy:?}");
    assert!(busy.slowest <= SENT_WITHIN, "a send was held up");
    println!("{LOGINS} logins at once in {took:?}, by status: {answers:?}");
    println!("admin-api: {} MiB before, {} MiB at most", before >> 20, most >> 20);
    let known: usize = [200, 401, 429, 503].iter().filter_map(|status| answers.get(status)).sum();
    assert_eq!(known, LOGINS, "{answers:?}");
    assert!(answers.get(&200).is_some_and(|count| *count > 0), "{answers:?}");
    assert!(most.saturating_sub(before) <= HASHES + REQUESTS, "{} MiB more", (most - before) >> 20);

    traffic.goes_on(CONVERSATIONS).await;
    traffic.stop().await;
    for client in traffic.clients() {
        assert_eq!(client.counts().disconnects, 0, "a socket was closed");
    }
    verify::all_agree(&world, &traffic).await;
}

/// Everybody logs in at the same time, while one visitor goes on talking: the answers by status, how long the sends
/// took, the most memory, and how long it all took.
async fn crowd(url: &str, admin_api: u32, visitor: &Visitor) -> (BTreeMap<u16, usize>, Took, u64, Duration) {
    let http = reqwest::Client::new();
    // Every fourth is somebody, with the right password or a wrong one; the others are nobody.
    let login = async |n: usize| {
        let email = match n % 4 {
            0 => format!("agent-{}@example.com", n / 4 % 2),
            _ => format!("{n}@nobody.example"),
        };
        let wrong = if n.is_multiple_of(8) { "" } else { "x" };
        let body = json!({ "email": email, "password": format!("{PASSWORD}{wrong}") });
        let answer = http.post(format!("{url}/v1/auth/login")).json(&body).send().await;
        answer.unwrap().status().as_u16()
    };
    let (began, over) = (Instant::now(), AtomicBool::new(false));
    let all = async {
        let statuses = join_all((0..LOGINS).map(login)).await;
        over.store(true, Ordering::Relaxed);
        (statuses, began.elapsed())
    };
    let ((statuses, took), busy, most) =
        tokio::join!(all, sends(visitor, || !over.load(Ordering::Relaxed)), peak(admin_api, &over));
    let mut answers = BTreeMap::new();
    for status in statuses {
        *answers.entry(status).or_default() += 1;
    }
    (answers, busy, most, took)
}

/// The largest resident size until it is over.
async fn peak(pid: u32, over: &AtomicBool) -> u64 {
    let mut most = 0;
    wait_for(WITHIN, "the logins to be over", async || {
        most = most.max(resident(pid));
        over.load(Ordering::Relaxed)
    })
    .await;
    most
}

/// How long sends took.
#[derive(Debug)]
#[expect(dead_code, reason = "printed")]
struct Took {
    sends: usize,
    p50: Duration,
    p99: Duration,
    slowest: Duration,
}

/// One send after the other, as long as there is to be one more.
async fn sends(visitor: &Visitor, mut more: impl FnMut() -> bool) -> Took {
    let conversation = visitor.conversation.unwrap();
    let mut took = Vec::new();
    while more() {
        let began = Instant::now();
        let text = format!("probe {}", took.len());
        visitor.client.send_text(conversation, &text).unwrap().done().await.unwrap();
        took.push(began.elapsed());
    }
    took.sort();
    let sends = took.len();
    Took { sends, p50: took[sends / 2], p99: took[sends * 99 / 100], slowest: took[sends - 1] }
}
