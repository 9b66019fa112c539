//! Readers that stall do not hold others up, cost no more than their outbox, and miss nothing in the end.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use bus_schema::{Audience, protocol::WidgetSession};
use futures::{StreamExt as _, stream};
use ops::{
    client::{Http, Visitor},
    testing::{Fault, FaultProxy, wait_for},
};

use crate::{
    long, seed,
    traffic::{Plan, Traffic},
    verify,
    world::{Shape, World},
};

/// What an edge may keep for one that does not read.
const PER_READER_MAX: u64 = 1536 * 1024;
/// As long as a text may be.
const TEXT_BYTES: usize = 16 * 1024;
/// More than an outbox and all buffers on the way hold.
const TEXTS: usize = 120;
/// Visitors who write at the same time.
const WRITERS: usize = 16;
const WITHIN: Duration = Duration::from_secs(900);

/// One person with two tabs; the second one is behind a network that can stand still.
struct Reader {
    writing: Visitor,
    reading: Visitor,
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_readers_are_bounded_and_resume_without_loss() {
    let _turn = crate::turn().await;
    let seed = seed();
    let readers = if long() { 1_000 } else { 200 };
    let unlimited = [
        "EVENTS_PER_SECOND",
        "EVENTS_BURST",
        "EVENTS_PER_SECOND_PER_TENANT",
        "REQUESTS_IN_FLIGHT",
        "CONNECTIONS_PER_ADDRESS",
        "SESSIONS_PER_MINUTE_PER_ADDRESS",
        "LOGINS_PER_MINUTE_PER_ADDRESS",
    ]
    .map(|name| format!("CHATBUS_LIMIT_{name}"));
    let mut env: Vec<(&str, &str)> = unlimited.iter().map(|name| (name.as_str(), "0")).collect();
    // Else who stalls is taken for dead before it is slow.
    env.push(("CHATBUS_LIMIT_DEAD_AFTER_MS", "0"));
    let world = World::up(Shape { edges: 1, ..Shape::default() }, &env).await;
    let edge = world.pids()["edge"][0];
    let address = world.edge_urls()[0].trim_start_matches("http://").parse().unwrap();
    let proxy = FaultProxy::start(address, seed).await.unwrap();
    let slow = vec![format!("http://{}", proxy.address())];
    let http = Http::new().unwrap();
    let opened = stream::iter(0..readers).map(|n| Reader::open(&world, &http, &slow, n));
    let readers: Vec<Arc<Reader>> = opened.buffered(WRITERS).map(Arc::new).collect().await;

    let mut traffic = Traffic::start(&world, Plan::steady(&world, 20, seed)).await;
    let (before, quiet) = (resident(edge), costs(edge, &traffic).await);
    proxy.inject(Fault::BlackHole);
    let writing = tokio::spawn(write_to_all(readers.clone()));
    let mut most = before;
    while !writing.is_finished() {
        most = most.max(resident(edge));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    writing.await.unwrap();
    let each = most.saturating_sub(before) / readers.len() as u64;
    let loaded = costs(edge, &traffic).await;
    println!("{} stalled readers: {each} B each at most", readers.len());
    println!("CPU per event of the others: {quiet:.0} µs before, {loaded:.0} µs with readers stalled");
    assert!(each <= PER_READER_MAX, "{each} B for each stalled reader");

    proxy.heal();
    let healed = Instant::now();
    traffic.stop().await;
    let log = world.log().await;
    for reader in &readers {
        let conversation = reader.writing.conversation.unwrap();
        wait_for(WITHIN, "a stalled reader to catch up", async || {
            verify::shows(&reader.reading.client, conversation, Audience::All, &log)
        })
        .await;
    }
    let cut = readers.iter().filter(|reader| reader.reading.client.counts().disconnects > 0).count();
    let resets: u64 = readers.iter().map(|reader| reader.reading.client.counts().resets).sum();
    println!("{cut} were cut off, {resets} were reset; all were back after {:?}", healed.elapsed());
    assert!(cut > readers.len() / 2, "nobody was slow: the test shows nothing");
    verify::all_agree(&world, &traffic).await;
}

impl Reader {
    async fn open(world: &World, http: &Http, slow: &[String], n: usize) -> Self {
        let session = WidgetSession { initial_message: Some(format!("I am reader {n}.")), ..world.session() };
        let quiet = |options: &mut ops::client::Options| options.pushes = 0;
        let writing = Visitor::open(http, &world.edge_urls(), 0, &session, quiet).await.unwrap();
        let reading = Visitor::open(http, slow, 0, &session, quiet).await.unwrap();
        for visitor in [&writing, &reading] {
            visitor.client.ready(WITHIN).await.unwrap();
        }
        Self { writing, reading }
    }

    async fn write(&self, text: &str) {
        let conversation = self.writing.conversation.unwrap();
        self.writing.client.send_text(conversation, text).unwrap().done().await.unwrap();
    }
}

/// In rounds, so that all outboxes are about to overflow at the same time.
async fn write_to_all(readers: Vec<Arc<Reader>>) {
    let text = "x".repeat(TEXT_BYTES);
    for _ in 0..TEXTS {
        let round = stream::iter(readers.clone()).map(async |reader| reader.write(&text).await);
        round.buffer_unordered(WRITERS).collect::<()>().await;
    }
}

/// CPU time of the edge per event that the others had acknowledged, in microseconds.
async fn costs(edge: u32, traffic: &Traffic) -> f64 {
    const EVENTS: usize = 150;
    let (cpu, acked) = (cpu_us(edge), traffic.acked());
    wait_for(WITHIN, "normal load to go on", async || traffic.acked() >= acked + EVENTS).await;
    (cpu_us(edge) - cpu) as f64 / (traffic.acked() - acked) as f64
}

pub fn resident(pid: u32) -> u64 {
    const PAGE: u64 = 4096;
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * PAGE
}

fn cpu_us(pid: u32) -> u64 {
    const TICK_US: u64 = 10_000;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * TICK_US
}
