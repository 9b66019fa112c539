//! `ops bench drain`: how fast persister empties a full log into an empty schema, beside a bare `COPY` of the same
//! rows, and what it costs to keep up with a steady rate (S7 of the benchmarks page).

mod copy;
mod report;
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
    report::{Pair, Part, Report, Steady},
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
const DRAINED_WITHIN: Duration = Duration::from_secs(900);
/// How often the steady traffic is sent, as much as is due.
const PACE: Duration = Duration::from_millis(1);
/// Beside the steady traffic: how often one of its events is waited for, and how often its arrival is looked for.
const PROBE_EVERY: Duration = Duration::from_millis(50);
const PROBE_POLL: Duration = Duration::from_millis(1);
const PROBE_WITHIN: Duration = Duration::from_secs(5);
const PERSISTER: &str = "persister";
const POSTGRES: &str = "postgres";
const BATCHES: &str = "chatbus_persister_batch_rows_count";
const STATEMENTS: &str = "chatbus_persister_statements_total";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Events that the log holds when persister starts
    #[arg(long, default_value_t = 200_000)]
    events: usize,
    /// How often it is drained, each time beside the copies
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
    let world = World::start().await?;
    let mut traffic = Traffic::new(args.bytes);
    fill(&world, &mut traffic, args.events).await?;
    let (jiffies, (fsync_p50_us, fsync_max_us)) =
        (Jiffies::now(), tokio::task::spawn_blocking(fsync_probe).await??);
    let sql = world.postgres.sql().await?;
    let mut bench = Bench { world, sql };
    let mut pairs = Vec::new();
    for at in 1..=args.pairs {
        pairs.push(bench.pair(args.events).await?);
        out::note(&format!("pair {at} of {}: {}", args.pairs, pairs[at - 1].text()));
    }
    let steady = if args.rate > 0 {
        Some(bench.steady(&mut traffic, args.events, args.rate, args.duration).await?)
    } else {
        None
    };
    let noise = Noise { fsync_p50_us, fsync_max_us, ..Jiffies::now().noise_since(jiffies) };
    let report = Report { machine: Machine::look(), noise, events: args.events, pairs, steady };
    out::say(&if args.json { serde_json::to_string(&report)? } else { report.text() });
    Ok(ExitCode::SUCCESS)
}

/// Publishes in order, so that sequences are what the traffic takes them for.
async fn fill(world: &World, traffic: &mut Traffic, events: usize) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut stored =
        stream::iter(traffic.take(events)).map(|write| world.log().publish(write)).buffered(WINDOW);
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

    async fn pair(&mut self, events: usize) -> anyhow::Result<Pair> {
        self.world.empty().await?;
        let drain = self.drain(events).await?;
        let rows = copy::rows(&self.sql).await?;
        ensure!(rows.len() == events, "{} of {events} events are in Postgres", rows.len());
        let mut copies = [Part::default(); 2];
        for (indexes, part) in [false, true].into_iter().zip(&mut copies) {
            let procs = self.procs(None);
            let mark = self.mark(&procs).await?;
            let per_second = copy::measure(&self.sql, &rows, indexes).await?;
            *part = Part { per_second, ..self.since(mark, &procs, rows.len() as u64).await? };
        }
        let [copy, copy_indexed] = copies;
        Ok(Pair { drain, copy, copy_indexed })
    }

    /// From the first batch until nothing is left.
    async fn drain(&self, events: usize) -> anyhow::Result<Part> {
        let mut persister = self.world.persister()?;
        let procs = self.procs(Some(&persister));
        let first = self.reached(&mut persister, 1).await?;
        let mark = self.mark(&procs).await?;
        self.reached(&mut persister, events as u64).await?;
        let mut part = self.since(mark, &procs, events as u64 - first).await?;
        part.events_per_batch = events as f64 / self.world.metric(BATCHES).await?;
        part.statements_per_event = self.world.metric(STATEMENTS).await? / events as f64;
        self.world.end(persister).await?;
        Ok(part)
    }

    /// Waits until the watermark is at `seq` or above.
    async fn reached(&self, persister: &mut Guarded, seq: u64) -> anyhow::Result<u64> {
        let began = Instant::now();
        loop {
            let at = self.world.watermark(&self.sql, persister).await?;
            if at >= seq {
                return Ok(at);
            }
            ensure!(began.elapsed() < DRAINED_WITHIN, "persister stands at {at} after {DRAINED_WITHIN:?}");
            sleep(POLL).await;
        }
    }

    /// Two parts: what it costs while nobody looks, and how far Postgres is behind while somebody does.
    async fn steady(
        &self,
        traffic: &mut Traffic,
        kept: usize,
        rate: u32,
        seconds: u32,
    ) -> anyhow::Result<Steady> {
        let mut persister = self.world.persister()?;
        self.reached(&mut persister, kept as u64).await?;
        let procs = self.procs(Some(&persister));
        self.send(traffic, rate, 1).await?;
        let (batches, statements) = (self.world.metric(BATCHES).await?, self.world.metric(STATEMENTS).await?);
        let mark = self.mark(&procs).await?;
        let sent = self.send(traffic, rate, seconds).await?;
        let mut cost = self.since(mark, &procs, sent).await?;
        cost.events_per_batch = sent as f64 / (self.world.metric(BATCHES).await? - batches);
        cost.statements_per_event = (self.world.metric(STATEMENTS).await? - statements) / sent as f64;
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
