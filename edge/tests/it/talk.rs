//! Talks over edges that hear the log badly, and how long it took them to have what they missed.

#![allow(clippy::print_stdout, reason = "times are what a run is judged by")]

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use futures::future::join_all;
use ops::testing::{LiveShim, long, wait_for};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    client::{Client, Got, message},
    world::{Edge, World},
};

/// Of the live copies, for each of the four things that happen to them.
pub const SHARE: f64 = 0.01;
/// So that most of the last copies are hit.
pub const SHARE_AT_THE_TAIL: f64 = 0.25;
/// By when 99 of 100 are repaired that something follows.
const MID_STREAM: Duration = Duration::from_secs(1);
/// What is followed by nothing for longer, as when nobody leads the log, is found like a last copy.
const SOON: Duration = Duration::from_millis(500);
/// A lost last copy is followed by none: it is found by the look at the tail, every 10 s ± 20 %.
const AT_THE_TAIL: Duration = Duration::from_secs(12);
/// The short profile runs on busy machines.
const BUSY: u32 = 4;
/// Sequence and time of each event, as somebody got them.
type Seen = Arc<Mutex<Vec<(u64, Instant)>>>;
/// How somebody's connection ended, who should have stayed.
type Ended = Arc<OnceLock<Got>>;

/// A visitor who writes in one tab, at one edge, and reads in another, at the other.
struct Talk {
    id: Value,
    writer: Client,
    random: StdRng,
    acked: Vec<(u64, Instant)>,
    seen: Seen,
    ended: Ended,
}

impl Talk {
    async fn open<N>(world: &World<N>, [calm, shaken]: &[Edge; 2], seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let session = world.session(calm, random.random(), json!({ "initial_message": "Hello" })).await;
        let token = session["token"].as_str().unwrap();
        let (writer, _) = Client::login(calm.at, token).await;
        let (reader, _) = Client::login(shaken.at, token).await;
        let (seen, ended) = (Seen::default(), Ended::default());
        tokio::spawn(read(reader, seen.clone(), ended.clone()));
        Self { id: session["conversation"]["id"].clone(), writer, random, acked: Vec::new(), seen, ended }
    }

    /// Sends until it is stored, as every client does.
    async fn write(&mut self) {
        let n = self.acked.len();
        let answer = self.writer.stored(message(&self.id, &format!("m-{n}"), &format!("message {n}"))).await;
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
    async fn waits(&self, followed: bool, shims: &[LiveShim]) -> Vec<Duration> {
        let last = self.last();
        wait_for(BUSY * AT_THE_TAIL, "the other tab to have all of it", async || {
            let seen = self.seen.lock().unwrap().last().map(|(seq, _)| *seq);
            let has = format!("has {seen:?} of {last}, its connection's end: {:?}", self.ended.get());
            if seen >= Some(last) { Ok(()) } else { Err(has) }
        })
        .await;
        let seen = self.seen.lock().unwrap();
        let seqs = |list: &[(u64, Instant)]| list.iter().map(|(seq, _)| *seq).collect::<Vec<_>>();
        assert_eq!(seqs(&seen), seqs(&self.acked), "a list that is not the log's slice");
        let next = self.acked.iter().skip(1).map(Some).chain([None]);
        let all = self.acked.iter().zip(next).zip(seen.iter());
        let is_wanted = |(seq, acked): (u64, Instant), next: Option<&(u64, Instant)>| {
            let is_followed = next.is_some_and(|(_, next)| next.duration_since(acked) < SOON);
            is_followed == followed && missed(shims, seq)
        };
        all.filter(|((acked, next), _)| is_wanted(**acked, *next))
            .map(|(((_, acked), _), (_, seen))| seen.saturating_duration_since(*acked))
            .collect()
    }

    fn last(&self) -> u64 {
        self.acked.last().expect("something was written").0
    }
}

async fn read(mut reader: Client, seen: Seen, ended: Ended) {
    loop {
        let frame = match reader.read_on().await {
            Got::Frame(frame) => frame,
            end => return ended.set(end).expect("it ends once"),
        };
        let event = &frame["payload"]["event"];
        if frame["action"] == "event" && event["kind"] == "message" {
            assert_eq!(frame["payload"].get("late"), None, "one lane is in order");
            seen.lock().unwrap().push((event["seq"].as_u64().unwrap(), Instant::now()));
        }
    }
}

/// Many of them, all over the same two edges, of which the second hears the log through shims.
pub struct Talks(Vec<Talk>);

impl Talks {
    pub async fn open<N>(world: &World<N>, edges: &[Edge; 2], count: u64, seed: u64) -> Self {
        let opened = (0..count).map(|n| Talk::open(world, edges, seed.wrapping_add(n)));
        Self(join_all(opened).await)
    }

    /// Each writes so many messages.
    pub async fn write_on(&mut self, messages: usize) {
        join_all(self.0.iter_mut().map(|talk| talk.write_on(messages))).await;
    }

    /// Each writes one message, which none follows.
    pub async fn write(&mut self) {
        join_all(self.0.iter_mut().map(Talk::write)).await;
    }

    /// Waits until all is repaired; 99 of 100 of what the shims kept back and something followed soon were by this
    /// time.
    pub async fn mid_stream(&self, shims: &[LiveShim]) -> Duration {
        let waits = self.0.iter().map(|talk| talk.waits(true, shims));
        told("mid-stream", join_all(waits).await.concat())
    }

    /// Likewise of last messages, and of what nothing followed soon.
    pub async fn at_the_tail(&self, shims: &[LiveShim]) -> Duration {
        let waits = self.0.iter().map(|talk| talk.waits(false, shims));
        told("at the tail", join_all(waits).await.concat())
    }
}

/// By when 99 of 100 are repaired: in mid-stream, and at the tail.
pub fn promised() -> (Duration, Duration) {
    let slack = if long() { 1 } else { BUSY };
    (MID_STREAM * slack, AT_THE_TAIL * slack)
}

fn missed(shims: &[LiveShim], seq: u64) -> bool {
    shims.iter().any(|shim| shim.tampered().has_missed(seq))
}

/// Median, 99th percentile and longest.
fn told(name: &str, mut waits: Vec<Duration>) -> Duration {
    assert!(!waits.is_empty(), "nothing was kept back");
    waits.sort_unstable();
    let at = |share: usize| waits[(waits.len() * share).div_ceil(100).saturating_sub(1)];
    println!("{name}: {} repairs, p50 {:?}, p99 {:?}, longest {:?}", waits.len(), at(50), at(99), at(100));
    at(99)
}
