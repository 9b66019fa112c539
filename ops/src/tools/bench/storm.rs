//! `ops bench storm`: scenario S4, one of three edges killed under load.
//!
//! Invariant: whoever was connected to the edge that was killed is counted, also those who never come back.

mod report;
mod strike;

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use rustix::process::{Resource, getrlimit};

use self::{
    report::Report,
    strike::{Strike, strike},
};
use super::{
    cast::{Cast, Plan},
    chat::NO_LIMITS,
    ledger::Board,
    machine::{Durability, Machine},
    procs::Procs,
    run::Bench,
    schedule::Shape,
};
use crate::{
    log::Log,
    tools::{
        out,
        target::{Started, Target, TargetArgs},
    },
};

const EDGES: u16 = 3;
/// Files that a driver needs beside its connections.
const FILES_BESIDE: u64 = 200;
/// Conversations of each agent.
const PER_AGENT: usize = 100;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// Visitors, each with an open conversation
    #[arg(long, default_value_t = 300)]
    clients: usize,
    /// Events per second over all conversations, both directions together
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// Seconds of load before the edge is killed
    #[arg(long, default_value_t = 5.0)]
    before: f64,
    /// Seconds of load from then on
    #[arg(long, default_value_t = 15.0)]
    after: f64,
    /// Bytes of each message's text
    #[arg(long, default_value_t = 300)]
    bytes: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Do not ask Postgres
    #[arg(long)]
    no_database: bool,
    #[arg(long, default_value_t = 0)]
    shard: u16,
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure!(args.clients > 0 && args.rate > 0.0, "clients and rate are above 0");
    ensure!(args.before > 0.0 && args.after > 0.0, "before and after are above 0");
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    ensure!(
        args.clients as u64 + FILES_BESIDE <= files,
        "this process may open {files} files: ask for fewer clients, or raise the limit (ulimit -n)"
    );
    let report = match args.target.find()? {
        Some(target) => measure(&args, &target).await?,
        None => {
            let started = Started::start(EDGES, NO_LIMITS).await?;
            let report = measure(&args, &started.target).await;
            started.stop().await?;
            report?
        }
    };
    out::say(&if args.json { serde_json::to_string(&report)? } else { report.text() });
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(args: &Args, target: &Target) -> anyhow::Result<Report> {
    let machine = Machine::look();
    let bus = target.bus().await?;
    let durability = Durability::ask(target, &bus.client.server_info().version).await;
    let procs = Procs::new(target.processes());
    let edges = procs.named("edge");
    ensure!(edges.len() >= usize::from(EDGES), "the storm needs {EDGES} edges on this machine");
    let victim = edges.first().context("no edge is named in CHATBUS_PIDS")?;
    let board = Board::default();
    let plan = Plan {
        run: rand::random(),
        conversations: args.clients,
        agents: args.clients.div_ceil(PER_AGENT),
        assigned: true,
        edges: target.edges()?,
    };
    let cast = Arc::new(Cast::assemble(target, &plan, &board).await?);
    let bench = Bench {
        cast: cast.clone(),
        board,
        log: Log::new(bus, bus_schema::Shard(args.shard)),
        procs,
        pinned: false,
        database: target.opt("DATABASE_URL").filter(|_| !args.no_database).map(str::to_owned),
        seed: args.seed,
        shape: Shape::Poisson,
        bytes: args.bytes,
        warmup_s: 0.0,
        manners: None,
    };
    let blow = Strike {
        victim,
        after: Duration::from_secs_f64(args.before),
        until: Duration::from_secs_f64(args.before + args.after),
    };
    let measured = tokio::try_join!(bench.run(args.rate, args.before + args.after), strike(&bench, blow));
    drop(bench);
    if let Some(cast) = Arc::into_inner(cast) {
        cast.dismiss().await;
    }
    let (run, struck) = measured?;
    Ok(Report { machine, durability, clients: args.clients, edges: edges.len(), run, struck })
}
