//! `ops bench chat`: scenario S1 of the protocol, with the limits of the same machine in the same run.
//!
//! Pairs are interleaved, and a ratio is the median of the pairs' ratios.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::ensure;

use super::{
    cast::{Cast, Plan},
    echo::EchoServer,
    jetstream::{self, Terms},
    ledger::Board,
    machine::{Durability, Machine},
    manners::Manners,
    procs::{self, Procs},
    report::{ChatReport, Pair, Saturation},
    run::{Bench, Run},
    schedule::Shape,
    search::Search,
};
use crate::{
    log::Log,
    tools::{
        out,
        target::{Started, Target, TargetArgs},
    },
};

/// Seconds of each try of the search, at most.
const TRY_SECONDS: f64 = 5.0;
pub const LIMIT_EACH: Duration = Duration::from_secs(2);
pub const ECHO_CONNECTIONS: usize = 100;

/// Limits that would be measured instead of the system; `0` = off.
pub const NO_LIMITS: &[(&str, &str)] = &[
    ("LIMIT_EVENTS_PER_SECOND", "0"),
    ("LIMIT_EVENTS_PER_SECOND_PER_TENANT", "0"),
    ("LIMIT_BYTES_PER_SECOND_PER_TENANT", "0"),
    ("LIMIT_STARTS_PER_SECOND_PER_TENANT", "0"),
    ("LIMIT_REQUESTS_IN_FLIGHT", "0"),
    ("LIMIT_CONNECTIONS_PER_ADDRESS", "0"),
    ("LIMIT_SESSIONS_PER_MINUTE_PER_ADDRESS", "0"),
    ("LIMIT_SESSIONS_PER_MINUTE_PER_WIDGET", "0"),
    ("LIMIT_SOCKET_LOGINS_PER_MINUTE_PER_ADDRESS", "0"),
    ("LIMIT_LOGINS_PER_MINUTE_PER_ADDRESS", "0"),
];

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    #[arg(long, default_value_t = 100)]
    conversations: usize,
    /// Events per second over all conversations, both directions together
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// Seconds of each run
    #[arg(long, default_value_t = 10.0)]
    duration: f64,
    /// Seconds before each run that are held to everything but the latencies
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Edges to use, separated by commas; without it, all of the system's
    #[arg(long, value_delimiter = ',')]
    edges: Vec<String>,
    /// Runs of the system and of the limits, in turn
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Find the highest rate within the bound, and run the pairs there
    #[arg(long)]
    saturate: bool,
    /// Bytes of each message's text
    #[arg(long, default_value_t = 300)]
    bytes: usize,
    /// Conversations of each agent
    #[arg(long, default_value_t = 50)]
    per_agent: usize,
    /// Unanswered publishes in the run of JetStream alone
    #[arg(long, default_value_t = 256)]
    window: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, value_enum, default_value_t = Shape::Poisson)]
    arrivals: Shape,
    /// Leave all processes on all cores, instead of the servers on one and the driver on another
    #[arg(long)]
    no_pin: bool,
    /// Do not ask Postgres
    #[arg(long)]
    no_database: bool,
    /// Each message comes after a typing and a read mark of its writer
    #[arg(long)]
    receipts: bool,
    #[arg(long, default_value_t = 0)]
    shard: u16,
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    ensure!(
        args.rate > 0.0 && args.duration > 0.0 && args.conversations > 0,
        "rate, duration and conversations are above 0"
    );
    ensure!((1..=100).contains(&args.per_agent), "an agent holds 1 to 100 conversations");
    let report = match args.target.find()? {
        Some(target) => measure(&args, &target).await?,
        None => {
            let started = Started::start(2, NO_LIMITS).await?;
            let report = measure(&args, &started.target).await;
            started.stop().await?;
            report?
        }
    };
    out::say(&if args.json { serde_json::to_string(&report)? } else { report.text() });
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(args: &Args, target: &Target) -> anyhow::Result<ChatReport> {
    // Before this process is pinned: it counts the cores that it may use.
    let machine = Machine::look();
    let bus = target.bus().await?;
    let version = bus.client.server_info().version;
    let log = Log::new(bus, bus_schema::Shard(args.shard));
    let board = Board::default();
    let edges = if args.edges.is_empty() { target.edges()? } else { args.edges.clone() };
    let plan = Plan {
        run: rand::random(),
        conversations: args.conversations,
        agents: args.conversations.div_ceil(args.per_agent),
        assigned: true,
        edges,
    };
    let durability = Durability::ask(target, &version).await;
    let cast = Arc::new(Cast::assemble(target, &plan, &board).await?);
    let (cores, procs) = (procs::cores(), Procs::new(target.processes()));
    let pinned = !args.no_pin && cores > 1 && !procs.is_empty();
    let bench = Bench {
        cast: cast.clone(),
        board,
        log,
        procs,
        pinned,
        database: target.opt("DATABASE_URL").filter(|_| !args.no_database).map(str::to_owned),
        seed: args.seed,
        shape: args.arrivals,
        bytes: args.bytes,
        warmup_s: args.warmup,
        manners: args.receipts.then(Manners::new),
    };
    if pinned {
        bench.procs.pin(0);
        procs::pin_self(1);
    }
    let measured = runs(args, &bench).await;
    if pinned {
        bench.procs.unpin(cores);
    }
    let (limits, across, edges) = (cast.limits_in_the_way(), cast.across, cast.edges.len());
    drop(bench);
    if let Some(cast) = Arc::into_inner(cast) {
        cast.dismiss().await;
    }
    let (saturation, pairs) = measured?;
    Ok(ChatReport {
        machine,
        durability,
        pinned,
        conversations: args.conversations,
        edges,
        across,
        bytes: args.bytes,
        receipts: args.receipts,
        seed: args.seed,
        arrivals: format!("{:?}", args.arrivals).to_lowercase(),
        limits_in_the_way: limits,
        saturation,
        pairs,
    })
}

async fn runs(args: &Args, bench: &Bench) -> anyhow::Result<(Option<Saturation>, Vec<Pair>)> {
    let (mut rate, mut saturation) = (args.rate, None);
    if args.saturate {
        let found = saturate(args, bench).await?;
        rate = found.rate.unwrap_or(args.rate);
        saturation = Some(found);
    }
    let echo = EchoServer::start().await?;
    if bench.pinned {
        echo.procs.pin(0);
    }
    let replicas = jetstream::replicas(&bench.log).await?;
    let mut pairs = Vec::with_capacity(args.pairs);
    for number in 1..=args.pairs {
        out::note(&format!("pair {number} of {}", args.pairs));
        let chat = bench.run(rate, args.duration).await?;
        let payload_bytes = usize::try_from(chat.stored_bytes)?.max(args.bytes);
        let terms = Terms { payload_bytes, window: args.window, replicas, each: LIMIT_EACH };
        let alone = jetstream::measure(bench.log.bus(), &bench.procs, &terms).await?;
        let echo = echo.measure(ECHO_CONNECTIONS, args.bytes, LIMIT_EACH).await?;
        pairs.push(Pair { chat, alone, echo });
    }
    Ok((saturation, pairs))
}

async fn saturate(args: &Args, bench: &Bench) -> anyhow::Result<Saturation> {
    let (mut search, mut tries) = (Search::from(args.rate), Vec::<Run>::new());
    let seconds = args.duration.min(TRY_SECONDS);
    while let Some(rate) = search.next() {
        let run = bench.run(rate, seconds).await?;
        search.judged(run.within_bound());
        tries.push(run);
    }
    let twice = match search.found() {
        Some(rate) => Some(bench.run(rate * 2.0, seconds).await?),
        None => None,
    };
    Ok(Saturation { rate: search.found(), tries, twice })
}
