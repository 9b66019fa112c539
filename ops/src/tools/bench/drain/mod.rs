//! `ops bench drain`: how fast persister empties a full log into an empty schema, beside a bare `COPY` of the same
//! rows, at each size of the read model that is asked for, and what it costs to keep up with a steady rate (S7 of the benchmarks page).

mod copy;
mod report;
mod sizes;
mod traffic;
mod world;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, stream};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_postgres::Client;

use self::{
    copy::Bare,
    report::{Pair, Part, Report, Size, Steady},
    sizes::{Window, drained_within, log_bytes, windows},
    traffic::Traffic,
    world::World,
};
use super::{
    machine::{Jiffies, Machine, Noise, fsync_probe},
    procs::{Cpu, DRIVER, Procs, used},
    spread::Spread,
};
use crate::{dev::guard::Guarded, log::Write, tools::out};

/// Unanswered publishes while the log is filled.
const WINDOW: usize = 512;
const POLL: Duration = Duration::from_millis(20);
/// How often the steady traffic is sent, as much as is due.
const PACE: Duration = Duration::from_millis(1);
/// Beside the steady traffic: how often one of its events is waited for, and how often its arrival is looked for.
const PROBE_EVERY: Duration = Duration::from_millis(50);
const PROBE_POLL: Duration = Duration::from_millis(1);
const PROBE_WITHIN: Duration = Duration::from_secs(5);
/// Of the steady part: what it costs, and how far Postgres is behind.
const STEADY_PARTS: u32 = 2;
const PERSISTER: &str = "persister";
const POSTGRES: &str = "postgres";
const BATCHES: &str = "chatbus_persister_batch_rows_count";
const STATEMENTS: &str = "chatbus_persister_statements_total";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Events of each window that is timed
    #[arg(long, default_value_t = 200_000)]
    events: u64,
    /// How many events Postgres has when a window begins, growing; the log holds all, and the last window
    #[arg(long, value_delimiter = ',', default_value = "0")]
    at: Vec<u64>,
    /// How often the log is drained, each time beside the copies
    #[arg(long, default_value_t = 3)]
    pairs: usize,
    /// Bytes of each message's text
    #[arg(long, default_value_t = 300)]
    bytes: usize,
    /// Events per second of the steady part; 0 leaves it out
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Seconds of the steady part
    #[arg(long, default_value_t = 10)]
    duration: u32,
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure!(args.events >= 10_000 && args.pairs > 0, "at least 10,000 events and one pair");
    let windows = windows(&args.at, args.events)?;
    let all = windows.last().map_or(0, |window| window.up_to);
    let steady = u64::from(args.rate) * u64::from(STEADY_PARTS * args.duration + 1);
    let world = World::start(log_bytes(all + steady, args.bytes as u64)).await?;
    let mut traffic = Traffic::new(args.bytes);
    fill(&world, &mut traffic, all).await?;
    let (jiffies, (fsync_p50_us, fsync_max_us)) =
        (Jiffies::now(), tokio::task::spawn_blocking(fsync_probe).await??);
    let sql = world.postgres.sql().await?;
    let mut bench = Bench { world, sql };
    let mut sizes: Vec<_> = args.at.iter().map(|&at| Size { at, pairs: Vec::new() }).collect();
    for round in 1..=args.pairs {
        for (size, pair) in sizes.iter_mut().zip(bench.round(&windows).await?) {
            out::note(&format!("pair {round} of {}, at {} events: {}", args.pairs, size.at, pair.text()));
            size.pairs.push(pair);
        }
    }
    let steady = if args.rate > 0 {
        Some(bench.steady(&mut traffic, all, args.rate, args.duration).await?)
    } else {
        None
    };
    let noise = Noise { fsync_p50_us, fsync_max_us, ..Jiffies::now().noise_since(jiffies) };
    let report = Report { machine: Machine::look(), noise, events: args.events, sizes, steady };
    out::say(&if args.json { serde_json::to_string(&report)? } else { report.text() });
    Ok(ExitCode::SUCCESS)
}

/// Publishes in order, so that sequences are what the traffic takes them for.
async fn fill(world: &World, traffic: &mut Traffic, events: u64) -> anyhow::Result<()> {
    let began = Instant::now();
    let writes = traffic.take(usize::try_from(events)?);
    let mut stored = stream::iter(writes).map(|write| world.log().publish(write)).buffered(WINDOW);
    while let Some(stored) = stored.next().await {
        stored?;
    }
    out::note(&format!("the log holds {events} events after {:.1} s", began.elapsed().as_secs_f64()));
    Ok(())
}

struct Bench {
    world: World,
    sql: Client,
}

/// What had been used at an instant.
struct Mark {
    at: Instant,
    cpu: Cpu,
    wal: i64,
}

impl Bench {
    async fn mark(&self, procs: &Procs) -> anyhow::Result<Mark> {
        let lsn = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint";
        let wal = self.sql.query_one(lsn, &[]).await?.get(0);
        Ok(Mark { at: Instant::now(), cpu: procs.cpu(), wal })
    }

    /// What was used since `mark`, for each of `events`.
    async fn since(&self, mark: Mark, procs: &Procs, events: u64) -> anyhow::Result<Part> {
        let now = self.mark(procs).await?;
        let (cpu, each) = (used(&mark.cpu, &now.cpu), events.max(1) as f64);
        let us = |name: &str| cpu.get(name).copied().unwrap_or(0) as f64 / each;
        Ok(Part {
            per_second: events as f64 / now.at.duration_since(mark.at).as_secs_f64(),
            persister_us: us(PERSISTER),
            postgres_us: us(POSTGRES),
            driver_us: us(DRIVER),
            wal_bytes: (now.wal - mark.wal) as f64 / each,
            ..Part::default()
        })
    }

    fn procs(&self, persister: Option<&Guarded>) -> Procs {
        let persister = persister.map(|persister| (PERSISTER.to_owned(), persister.pid()));
        Procs::new(
            persister.into_iter().chain([(POSTGRES.to_owned(), self.world.postgres.process.pid())]).collect(),
        )
    }

    /// Each window drained, and copied.
    async fn round(&mut self, windows: &[Window]) -> anyhow::Result<Vec<Pair>> {
        self.world.empty().await?;
        let drains = self.drain(windows).await?;
        let copies = self.copy(windows, false).await?;
        let copies_indexed = self.copy(windows, true).await?;
        let pairs = drains.into_iter().zip(copies).zip(copies_indexed);
        Ok(pairs.map(|((drain, copy), copy_indexed)| Pair { drain, copy, copy_indexed }).collect())
    }

    /// Persister drains the whole log; the first window begins with its first batch.
    async fn drain(&self, windows: &[Window]) -> anyhow::Result<Vec<Part>> {
        let mut persister = self.world.persister()?;
        let procs = self.procs(Some(&persister));
        let mut parts = Vec::new();
        for window in windows {
            let first = self.reached(&mut persister, window.after.max(1)).await?;
            let (batches, statements) = self.counted().await?;
            let mark = self.mark(&procs).await?;
            let last = self.reached(&mut persister, window.up_to).await?;
            ensure!(last > first, "{window:?} was over before it was looked at: ask for more --events");
            let mut part = self.since(mark, &procs, last - first).await?;
            let (batches_now, statements_now) = self.counted().await?;
            part.events_per_batch = (last - first) as f64 / (batches_now - batches).max(1.0);
            part.statements_per_event = (statements_now - statements) / (last - first) as f64;
            parts.push(part);
        }
        self.world.end(persister).await?;
        Ok(parts)
    }

    /// Batches and statements so far.
    async fn counted(&self) -> anyhow::Result<(f64, f64)> {
        Ok((self.world.metric(BATCHES).await?, self.world.metric(STATEMENTS).await?))
    }

    /// The rows of each window into a table that holds those before it; one window's rows are in memory.
    async fn copy(&self, windows: &[Window], indexes: bool) -> anyhow::Result<Vec<Part>> {
        let mut bare = Bare::new(&self.sql, indexes).await?;
        let mut parts = Vec::new();
        for &window in windows {
            bare.fill(&self.sql, window.after).await?;
            let rows = copy::rows(&self.sql, window).await?;
            let procs = self.procs(None);
            let mark = self.mark(&procs).await?;
            let per_second = bare.measure(&self.sql, &rows).await?;
            parts.push(Part { per_second, ..self.since(mark, &procs, window.len()).await? });
        }
        bare.end(&self.sql).await?;
        Ok(parts)
    }

    /// Waits until the watermark is at `seq` or above.
    async fn reached(&self, persister: &mut Guarded, seq: u64) -> anyhow::Result<u64> {
        let (began, within) = (Instant::now(), drained_within(seq));
        loop {
            let at = self.world.watermark(&self.sql, persister).await?;
            if at >= seq {
                return Ok(at);
            }
            ensure!(began.elapsed() < within, "persister stands at {at} of {seq} after {within:?}");
            sleep(POLL).await;
        }
    }

    /// Two parts: what it costs while nobody looks, and how far Postgres is behind while somebody does.
    async fn steady(
        &self,
        traffic: &mut Traffic,
        kept: u64,
        rate: u32,
        seconds: u32,
    ) -> anyhow::Result<Steady> {
        let mut persister = self.world.persister()?;
        self.reached(&mut persister, kept).await?;
        let procs = self.procs(Some(&persister));
        self.send(traffic, rate, 1).await?;
        let (batches, statements) = self.counted().await?;
        let mark = self.mark(&procs).await?;
        let sent = self.send(traffic, rate, seconds).await?;
        let mut cost = self.since(mark, &procs, sent).await?;
        let (batches_now, statements_now) = self.counted().await?;
        cost.events_per_batch = sent as f64 / (batches_now - batches).max(1.0);
        cost.statements_per_event = (statements_now - statements) / sent as f64;
        let mut behind = Spread::new();
        tokio::select! {
            sent = self.send(traffic, rate, seconds) => drop(sent?),
            failed = self.look(&mut behind) => failed?,
        }
        self.world.end(persister).await?;
        Ok(Steady { rate, cost, behind: behind.quantiles() })
    }

    /// Sends at `rate` without waiting for answers; how many.
    async fn send(&self, traffic: &mut Traffic, rate: u32, seconds: u32) -> anyhow::Result<u64> {
        let (began, all) = (Instant::now(), u64::from(rate) * u64::from(seconds));
        let mut ticks = interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut sent = 0;
        let client = &self.world.log().bus().client;
        while sent < all {
            ticks.tick().await;
            let due = (began.elapsed().as_secs_f64() * f64::from(rate)) as u64;
            for Write { subject, payload, .. } in traffic.take((due.min(all) - sent) as usize) {
                client.publish(subject, payload).await?;
            }
            sent = due.min(all);
        }
        client.flush().await?;
        Ok(sent)
    }

    /// Looks, again and again, how long it takes until Postgres has what the log ends with now.
    async fn look(&self, behind: &mut Spread) -> anyhow::Result<()> {
        loop {
            let end = i64::try_from(self.world.log().end().await?.last)?;
            let began = Instant::now();
            let arrived = async {
                while self.sql.query_one("SELECT seq FROM chat.watermark", &[]).await?.get::<_, i64>(0) < end
                {
                    sleep(PROBE_POLL).await;
                }
                anyhow::Ok(())
            };
            timeout(PROBE_WITHIN, arrived).await.context("Postgres falls behind")??;
            behind.record_ns(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
            sleep(PROBE_EVERY).await;
        }
    }
}
