//! `one-order` over a bus that loses, doubles, delays and reorders live copies.

#![allow(clippy::print_stdout, reason = "seeds and times are what a run is repeated and judged by")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use ops::testing::{LiveShim, long, wait_for};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    client::{Client, Got, message},
    world::World,
};

/// Of the live copies, for each of the four things that happen to them.
const SHARE: f64 = 0.01;
/// So that most of the last copies are hit.
const SHARE_AT_THE_TAIL: f64 = 0.25;
const MID_STREAM: Duration = Duration::from_secs(1);
/// A lost last copy is followed by none: it is found by the look at the tail, every 10 s ± 20 %.
const AT_THE_TAIL: Duration = Duration::from_secs(12);

/// Sequence and time of each event, as somebody got them.
type Seen = Arc<Mutex<Vec<(u64, Instant)>>>;

/// A visitor who writes in one tab, at one edge, and reads in another, at the other.
struct Talk {
    id: Value,
    writer: Client,
    random: StdRng,
    acked: Vec<(u64, Instant)>,
    seen: Seen,
}

impl Talk {
    async fn open(world: &World, [calm, shaken]: &[crate::world::Edge; 2], seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let session = world.session(calm, random.random(), json!({ "initial_message": "Hello" })).await;
        let token = session["token"].as_str().unwrap();
        let (writer, _) = Client::login(calm.at, token).await;
        let (reader, _) = Client::login(shaken.at, token).await;
        let seen = Seen::default();
        tokio::spawn(read(reader, seen.clone()));
        Self { id: session["conversation"]["id"].clone(), writer, random, acked: Vec::new(), seen }
    }

    async fn write(&mut self) {
        let n = self.acked.len();
        let sent = message(&self.id, &format!("m-{n}"), &format!("message {n}"));
        let answer = self.writer.request("send_event", sent).await;
        assert_eq!(answer["success"], true, "{answer}");
        self.acked.push((answer["payload"]["seq"].as_u64().unwrap(), Instant::now()));
    }

    /// A quick writer's pace: what is lost is followed by something soon.
    async fn write_on(&mut self, messages: usize) {
        for _ in 0..messages {
            self.write().await;
            tokio::time::sleep(Duration::from_millis(self.random.random_range(10..80))).await;
        }
    }

    /// Everything acknowledged was seen, each once and in order; how long each of those wanted took.
    async fn waits(&self, of: impl Fn(u64) -> bool) -> Vec<Duration> {
        let last = self.acked.last().unwrap().0;
        wait_for(2 * AT_THE_TAIL, "the other tab to have all of it", async || {
            self.seen.lock().unwrap().last().is_some_and(|(seq, _)| *seq >= last)
        })
        .await;
        let seen = self.seen.lock().unwrap();
        let seqs = |list: &[(u64, Instant)]| list.iter().map(|(seq, _)| *seq).collect::<Vec<_>>();
        assert_eq!(seqs(&seen), seqs(&self.acked), "a list that is not the log's slice");
        let both = self.acked.iter().zip(seen.iter()).filter(|((seq, _), _)| of(*seq));
        both.map(|((_, acked), (_, seen))| seen.saturating_duration_since(*acked)).collect()
    }
}

async fn read(mut reader: Client, seen: Seen) {
    while let Got::Frame(frame) = reader.read().await {
        let event = &frame["payload"]["event"];
        if frame["action"] == "event" && event["kind"] == "message" {
            assert_eq!(frame["payload"].get("late"), None, "one lane is in order");
            seen.lock().unwrap().push((event["seq"].as_u64().unwrap(), Instant::now()));
        }
    }
}

/// Median, 99th percentile and longest.
fn told(name: &str, mut waits: Vec<Duration>) -> Duration {
    waits.sort_unstable();
    let at = |share: usize| waits[(waits.len() * share).div_ceil(100).saturating_sub(1)];
    println!("{name}: {} repairs, p50 {:?}, p99 {:?}, longest {:?}", waits.len(), at(50), at(99), at(100));
    at(99)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_order_over_a_bus_that_loses_doubles_delays_and_reorders() {
    let seed = std::env::var("CHATBUS_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("CHATBUS_SEED={seed}");
    let (talks, messages) = if long() { (100, 1_000) } else { (25, 80) };
    let world = World::new().await;
    let shim = LiveShim::start(world.nats.address(), SHARE, seed).await.unwrap();
    let edges = [world.edge().await, world.edge_with(&[("NATS_URL", &shim.url())]).await];
    let opened = (0..talks).map(|n| Talk::open(&world, &edges, seed.wrapping_add(n)));
    let mut talks: Vec<Talk> = join_all(opened).await;

    join_all(talks.iter_mut().map(|talk| talk.write_on(messages))).await;
    let missed = |seq| shim.tampered().has_missed(seq);
    let waits = join_all(talks.iter().map(|talk| {
        let last = talk.acked.last().unwrap().0;
        talk.waits(move |seq| seq != last && missed(seq))
    }));
    let mid_stream = told("mid-stream", waits.await.concat());

    shim.set_share(SHARE_AT_THE_TAIL);
    join_all(talks.iter_mut().map(Talk::write)).await;
    let waits = join_all(talks.iter().map(|talk| {
        let last = talk.acked.last().unwrap().0;
        talk.waits(move |seq| seq == last && missed(seq))
    }));
    let at_the_tail = told("at the tail", waits.await.concat());
    println!("{}", shim.tampered());
    assert!(mid_stream < MID_STREAM && at_the_tail < AT_THE_TAIL);
}
