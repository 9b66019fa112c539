//! `ops bench route`: the core alone, from a start to the agent who is told, and a router that starts with a full log.

mod open;
mod starts;
mod world;

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::Value;

use self::{starts::Rate, world::World};
use super::machine::{Jiffies, Machine, Noise, fsync_probe};
use crate::{
    dev::nats::Sync,
    tools::{out, program::program},
};

const AGENTS: usize = 100;
const GROUPS: usize = 10;
const CAPACITY: u32 = 100;
/// The search for the highest rate ends within this factor of it.
const NEAR: f64 = 1.15;
const SEARCH_MAX: f64 = 6_400.0;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Starts per second that are measured for sure; the highest that holds is searched above them
    #[arg(long, value_delimiter = ',', default_values_t = [50.0, 200.0])]
    rates: Vec<f64>,
    /// Seconds at each rate
    #[arg(long, default_value_t = 15.0)]
    duration: f64,
    /// Open threads that a starting router finds; 0 leaves it out
    #[arg(long, default_value_t = 100_000)]
    open: usize,
    /// Leave out the core alone
    #[arg(long)]
    no_core: bool,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    noise: Noise,
    fsync_us: (u64, u64),
    /// As `router bench --json` says it.
    core: Option<Value>,
    rates: Vec<Rate>,
    highest: Option<f64>,
    recovery: Option<Recovery>,
}

#[derive(Debug, Serialize)]
struct Recovery {
    open_threads: usize,
    seconds: f64,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure!(args.duration > 0.0 && args.rates.iter().all(|rate| *rate > 0.0), "rates and times are above 0");
    let before = Jiffies::now();
    let core = if args.no_core { None } else { Some(core().await?) };
    let (rates, highest) = through_the_bus(&args).await?;
    let recovery = if args.open > 0 { Some(recovery(args.open).await?) } else { None };
    let report = Report {
        machine: Machine::look(),
        noise: Jiffies::now().noise_since(before),
        fsync_us: fsync_probe()?,
        core,
        rates,
        highest,
        recovery,
    };
    out::say(&if args.json { serde_json::to_string_pretty(&report)? } else { report.text() });
    Ok(ExitCode::SUCCESS)
}

/// `router bench`: this command links no service.
async fn core() -> anyhow::Result<Value> {
    out::note("the core alone …");
    let output = tokio::process::Command::new(program("router")?).args(["bench", "--json"]).output().await?;
    ensure!(output.status.success(), "router bench: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("router bench said no figures")
}

/// The given rates, and then upwards until one does not hold.
async fn through_the_bus(args: &Args) -> anyhow::Result<(Vec<Rate>, Option<f64>)> {
    let world = Arc::new(World::start(Sync::Always, AGENTS, GROUPS).await?);
    world.configure(CAPACITY).await?;
    let (_router, _) = world.router().await?;
    world.agents_come().await?;
    // Nothing is warm at first.
    starts::measure(&world, args.rates[0], 2.0).await?;
    let mut rates = Vec::new();
    for rate in &args.rates {
        rates.push(measure(&world, *rate, args.duration).await?);
    }
    let mut holds =
        rates.iter().filter(|rate| rate.holds()).map(|rate| rate.per_second).max_by(f64::total_cmp);
    let mut fails: Option<f64> = None;
    while let Some(low) = holds {
        let next = fails.map_or(low * 2.0, |high| (low * high).sqrt());
        if next > SEARCH_MAX || fails.is_some_and(|high| high / low < NEAR) {
            break;
        }
        let tried = measure(&world, next, args.duration / 2.0).await?;
        if tried.holds() {
            holds = Some(next)
        } else {
            fails = Some(next)
        }
        rates.push(tried);
    }
    let mended = world.metric("chatbus_router_mended_total").await?;
    ensure!(mended == 0.0, "a sweep had to put {mended} things right");
    Ok((rates, holds))
}

async fn measure(world: &Arc<World>, rate: f64, seconds: f64) -> anyhow::Result<Rate> {
    out::note(&format!("{rate:.0} starts/s …"));
    starts::measure(world, rate, seconds).await
}

async fn recovery(open_threads: usize) -> anyhow::Result<Recovery> {
    out::note(&format!("a log with {open_threads} open threads …"));
    // What is measured is reading.
    let world = World::start(Sync::Default, open_threads.div_ceil(100).max(1), 50).await?;
    world.configure(100).await?;
    let began = Instant::now();
    open::write(&world, open_threads).await?;
    out::note(&format!("… filled in {:.0?}", began.elapsed()));
    let (_router, took): (_, Duration) = world.router().await?;
    Ok(Recovery { open_threads, seconds: took.as_secs_f64() })
}

impl Report {
    fn text(&self) -> String {
        let mut lines = vec![
            format!("machine   {}", self.machine.text()),
            format!(
                "fsync     p50 {} µs, p99 {} µs; sync_interval: always",
                self.fsync_us.0, self.fsync_us.1
            ),
        ];
        for core in self.core.iter().flat_map(|core| core.as_array().into_iter().flatten()) {
            lines.push(format!(
                "core      {} agents, {} queued: {:.0} decisions/s",
                core["agents"],
                core["queued"],
                core["per_second"].as_f64().unwrap_or_default()
            ));
        }
        for rate in &self.rates {
            let (per_second, told, starts) = (rate.per_second, rate.told, rate.starts);
            lines.push(format!(
                "start     {per_second:.0}/s, {told} of {starts} told: {}",
                rate.latency.text()
            ));
        }
        if let Some(highest) = self.highest {
            lines.push(format!("highest   {highest:.0} starts/s with p99 below {:?}", starts::HOLDS_BELOW));
        }
        if let Some(recovery) = &self.recovery {
            let (open, seconds) = (recovery.open_threads, recovery.seconds);
            lines.push(format!(
                "recovery  {open} open threads: {seconds:.2} s from the start to the first answer"
            ));
        }
        lines.join("\n")
    }
}
