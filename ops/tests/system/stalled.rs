//! Readers that stall do not hold others up, cost no more than their outbox, and miss nothing in the end.

use std::{
    fmt, fs,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bus_schema::{Audience, ConversationId, Timestamp, protocol::WidgetSession};
use futures::{StreamExt as _, stream};
use ops::{
    client::{EventHead, Http, Observer, Visitor},
    dev::probe,
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
/// As many as an outbox holds: nobody is sent away for them.
const TEXTS_HELD: usize = 40;
/// With those, more than an outbox and all buffers on the way hold.
const TEXTS_MORE: usize = 80;
/// What an event may cost more while readers are stalled; a short run's clock ticks too rarely to say it as well.
const DEARER_MAX: f64 = 1.10;
const DEARER_MAX_SHORT: f64 = 2.0;
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

    let (others, dearer_max) = if long() { (100, DEARER_MAX) } else { (20, DEARER_MAX_SHORT) };
    let heard = Arc::new(Heard::default());
    let plan = Plan { observer: Some(heard.clone()), ..Plan::steady(&world, others, seed) };
    let mut traffic = Traffic::start(&world, plan).await;
    // As much as is written when they stall: what was said lately is looked after for a while.
    write_to_all(readers.clone(), TEXTS_HELD).await;
    let (before, quiet) = (resident(edge), Costs::measure(&world, &heard).await);
    proxy.inject(Fault::BlackHole);
    write_to_all(readers.clone(), TEXTS_HELD).await;
    // While they all stall, and are there: what the edge does for the others is what it did before.
    let loaded = Costs::measure(&world, &heard).await;
    let metrics = metrics(&world).await;
    assert_eq!(value(&metrics, r#"chatbus_edge_connections_closed_total{code="slow_consumer"}"#), 0.0);
    let connected = value(&metrics, r#"chatbus_edge_connections{role="visitor"}"#);
    assert!(connected >= (2 * readers.len() + others) as f64, "{connected} visitors are connected");
    println!("the others, before: {quiet}");
    println!("the others, with {} readers stalled: {loaded}", readers.len());
    assert!(loaded.cpu_us <= quiet.cpu_us * dearer_max, "dearer than {dearer_max} times");

    let writing = tokio::spawn(write_to_all(readers.clone(), TEXTS_MORE));
    let mut most = before;
    while !writing.is_finished() {
        most = most.max(resident(edge));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    writing.await.unwrap();
    let each = most.saturating_sub(before) / readers.len() as u64;
    println!("{} stalled readers: {each} B each at most", readers.len());
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
async fn write_to_all(readers: Vec<Arc<Reader>>, texts: usize) {
    let text = "x".repeat(TEXT_BYTES);
    for _ in 0..texts {
        let round = stream::iter(readers.clone()).map(async |reader| reader.write(&text).await);
        round.buffer_unordered(WRITERS).collect::<()>().await;
    }
}

/// How long after they were stored the others' events came.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<Duration>>);

impl Observer for Heard {
    fn event(&self, _: ConversationId, event: &EventHead<'_>) {
        if let Ok(at) = Timestamp::parse(&event.at) {
            let now = Timestamp::from_millis(ops::client::now_ms());
            self.0.lock().unwrap().push(now.since(at));
        }
    }
}

/// What the others' events cost, and when they come.
struct Costs {
    /// CPU time of the edge per event that it delivered, in microseconds.
    cpu_us: f64,
    delivered: f64,
    p50: Duration,
    p99: Duration,
}

impl Costs {
    async fn measure(world: &World, heard: &Heard) -> Self {
        let events = if long() { 20_000 } else { 300 };
        let edge = world.pids()["edge"][0];
        heard.0.lock().unwrap().clear();
        let (cpu, delivered) = (cpu_us(edge), delivered(world).await);
        wait_for(WITHIN, "normal load to go on", async || heard.0.lock().unwrap().len() >= events).await;
        let (cpu, delivered) = (cpu_us(edge) - cpu, self::delivered(world).await - delivered);
        let mut waits = std::mem::take(&mut *heard.0.lock().unwrap());
        waits.sort_unstable();
        let at = |share: usize| waits[(waits.len() * share).div_ceil(100) - 1];
        Self { cpu_us: cpu as f64 / delivered, delivered, p50: at(50), p99: at(99) }
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu_us, delivered, p50, p99 } = self;
        write!(
            f,
            "{delivered} events at {cpu_us:.0} µs of CPU each, p50 {p50:?}, p99 {p99:?} after they were stored"
        )
    }
}

async fn delivered(world: &World) -> f64 {
    value(&metrics(world).await, "chatbus_edge_events_delivered_total")
}

async fn metrics(world: &World) -> String {
    let urls = world.var("CHATBUS_EDGE_OPS_URLS");
    probe::get(urls.trim_start_matches("http://").parse().unwrap(), "/metrics").await.unwrap().body
}

fn value(metrics: &str, name: &str) -> f64 {
    let found = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("{name} is not told")).parse().unwrap()
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
