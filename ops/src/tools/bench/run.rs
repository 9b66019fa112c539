//! One open-loop run of S1: the schedule is kept whatever the system does, and everything sent is accounted for.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::Serialize;

use super::{
    cast::Cast,
    ledger::{Board, Ledger, Tally},
    machine::{Jiffies, Noise, fsync_probe},
    manners::{Manners, MannersTally},
    procs::{DRIVER, Procs, used},
    schedule::{Shape, schedule},
    search::{GOODPUT_MIN, P99_MAX_US},
    store,
};
use crate::{log::Log, tools::out};

/// The driver must not be later than this, or the run says nothing.
pub const LAG_P99_MAX_US: u64 = 1_000;
/// From the plan to the first event.
const HEAD_START: Duration = Duration::from_millis(100);
/// Clients give a send up after a minute.
const SETTLE_WITHIN: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);
/// After the last event is due: without any progress for this long, and in all.
const STUCK_AFTER: Duration = Duration::from_secs(5);
const DRAIN_WITHIN: Duration = Duration::from_secs(60);

/// Everything that runs share.
pub struct Bench {
    pub cast: Arc<Cast>,
    pub board: Board,
    pub log: Log,
    pub procs: Procs,
    /// The servers are on one core and the driver on another.
    pub pinned: bool,
    pub database: Option<String>,
    pub seed: u64,
    pub shape: Shape,
    pub bytes: usize,
    pub warmup_s: f64,
    /// What people do beside writing, if anything.
    pub manners: Option<Manners>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Run {
    pub rate: f64,
    pub seconds: f64,
    pub tally: Tally,
    /// Counted of due.
    pub goodput: f64,
    /// Counted per second.
    pub counted_rate: f64,
    /// Delivered per second, until the last one was.
    pub delivered_rate: f64,
    /// Microseconds per delivered event.
    pub cpu_us_per_event: BTreeMap<String, f64>,
    /// Of all but the driver.
    pub cpu_us_per_event_all: f64,
    pub stored_bytes: u64,
    /// Until Postgres had all of it, after the last delivery.
    pub database_behind_ms: Option<u64>,
    pub disconnects: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manners: Option<MannersTally>,
    pub noise: Noise,
    /// Why the figures of this run mean nothing.
    pub invalid: Option<String>,
}

impl Run {
    pub fn within_bound(&self) -> bool {
        self.tally.latency.p99_us <= P99_MAX_US && self.goodput >= GOODPUT_MIN
    }
}

impl Bench {
    pub async fn run(&self, rate: f64, seconds: f64) -> anyhow::Result<Run> {
        let (fsync_p50_us, fsync_max_us) = tokio::task::spawn_blocking(fsync_probe).await??;
        let pairs = u32::try_from(self.cast.pairs.len()).context("too many conversations")?;
        let dues = schedule(self.seed ^ rate.to_bits(), self.shape, pairs, rate, self.warmup_s + seconds);
        self.settle().await;
        let from_seq = self.log.end().await?.last + 1;
        let ledger = Arc::new(Ledger::new(rand::random(), Instant::now() + HEAD_START, dues));
        self.board.set(Some(ledger.clone()));
        let (disorder, disconnects) = (self.cast.disorder(), self.cast.disconnects());
        let (cpu, jiffies) = (self.procs.cpu(), Jiffies::now());
        let (tell, sent) = tokio::sync::oneshot::channel();
        let (pacing, cast, bytes) = (ledger.clone(), self.cast.clone(), self.bytes);
        let manners = self.manners.clone();
        // A thread of its own: timers of the runtime are milliseconds coarse.
        let pacer = std::thread::Builder::new().name("pacer".into()).spawn(move || {
            pace(&pacing, &cast, bytes, manners.as_ref());
            // Nobody waits any more only if the run was given up.
            let _ = tell.send(());
        })?;
        sent.await.context("the pacer died")?;
        let drained = drain(&ledger).await;
        let took = ledger.start().elapsed() - drained;
        let (cpu, noise) = (used(&cpu, &self.procs.cpu()), Jiffies::now().noise_since(jiffies));
        pacer.join().ok().context("the pacer died")?;
        ledger.end();
        let manners = match &self.manners {
            Some(manners) => Some(manners.take().await),
            None => None,
        };
        let (until, stored_bytes) = store::mark_log(&self.log, self.cast.tenant, from_seq, &ledger).await?;
        let mut behind = None;
        if let Some(url) = &self.database {
            behind = Some(store::mark_database(url, self.cast.tenant, (from_seq, until), &ledger).await?);
        }
        self.board.set(None);
        let disorder = self.cast.disorder() - disorder;
        let tally = ledger.tally((self.warmup_s * 1e9) as u64, self.database.is_some(), disorder);
        let events = tally.delivered.max(1) as f64;
        let cpu_us_per_event: BTreeMap<_, _> =
            cpu.into_iter().map(|(name, us)| (name, us as f64 / events)).collect();
        let all = cpu_us_per_event.iter().filter(|(name, _)| *name != DRIVER).map(|(_, us)| us).sum();
        let invalid = (tally.lag.p99_us > LAG_P99_MAX_US).then(|| {
            format!(
                "the driver itself was late: p99 {} µs, at most {LAG_P99_MAX_US} µs are valid",
                tally.lag.p99_us
            )
        });
        let run = Run {
            rate,
            seconds,
            goodput: tally.counted as f64 / tally.due.max(1) as f64,
            counted_rate: tally.counted as f64 / (self.warmup_s + seconds),
            delivered_rate: tally.delivered as f64 / took.as_secs_f64(),
            cpu_us_per_event,
            cpu_us_per_event_all: all,
            stored_bytes,
            database_behind_ms: behind.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            disconnects: self.cast.disconnects() - disconnects,
            manners,
            noise: Noise { fsync_p50_us, fsync_max_us, ..noise },
            invalid,
            tally,
        };
        out::note(&format!(
            "{rate:.0}/s: counted {:.2} %, {}{}",
            run.goodput * 100.0,
            run.tally.latency.text(),
            run.invalid.as_deref().map(|why| format!(" (invalid: {why})")).unwrap_or_default()
        ));
        Ok(run)
    }
}

impl Bench {
    /// What a run before could not store in time, its clients try again until they give up: no load of the next one.
    async fn settle(&self) {
        let deadline = Instant::now() + SETTLE_WITHIN;
        while self.cast.unsent() > 0 && Instant::now() < deadline {
            tokio::time::sleep(POLL).await;
        }
        if self.cast.unsent() > 0 {
            out::note(&format!("{} sends of an earlier run are still tried", self.cast.unsent()));
        }
    }
}

/// Sends each event at its instant, or as soon after it as can be.
fn pace(ledger: &Ledger, cast: &Arc<Cast>, bytes: usize, manners: Option<&Manners>) {
    let text = "x".repeat(bytes);
    for (index, due) in ledger.dues().iter().enumerate() {
        let at = ledger.start() + Duration::from_nanos(due.at_ns);
        let wait = at.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        if let Some(manners) = manners {
            manners.before(cast, *due);
        }
        let (client, conversation) = cast.writer(*due);
        let client_id = ledger.client_id(index);
        let name = client_id.as_str();
        let event = format!(r#"{{"kind":"message","client_id":"{name}","data":{{"text":"{text}"}}}}"#);
        ledger.sent(index);
        if let Err(error) = client.send_unwatched(conversation, client_id, event.into()) {
            ledger.refused(&format!("driver: {error}"));
        }
    }
}

/// Waits until all is answered and delivered, or nothing moves any more. Answers with how long nothing moved.
async fn drain(ledger: &Ledger) -> Duration {
    let (all, deadline) = (ledger.dues().len(), Instant::now() + DRAIN_WITHIN);
    let (mut moved, mut last) = (Instant::now(), (0, 0));
    loop {
        let progress = ledger.progress();
        if progress != last {
            (moved, last) = (Instant::now(), progress);
        }
        if progress == (all, all) || moved.elapsed() > STUCK_AFTER || Instant::now() > deadline {
            return moved.elapsed();
        }
        tokio::time::sleep(POLL).await;
    }
}
