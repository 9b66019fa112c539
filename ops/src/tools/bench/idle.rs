//! `ops bench idle`: what a logged-in connection with an open conversation costs while nothing happens, beside a bare
//! fastwebsockets server with as many.

use std::{process::ExitCode, time::Duration};

use anyhow::{bail, ensure};
use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use super::{
    cast::{Cast, Plan},
    chat::NO_LIMITS,
    echo::EchoServer,
    ledger::Board,
    machine::{Durability, Machine, kernel_socket_bytes},
    procs::{Procs, used},
};
use crate::tools::{
    out,
    target::{Started, Target, TargetArgs},
};

/// Files that a driver needs beside its connections.
const FILES_BESIDE: u64 = 200;
/// Memory is read when this has passed after the last connection came.
const SETTLE: Duration = Duration::from_secs(3);
/// Messages that each bare connection has echoed before it is idle: its buffers are in use, as the edge's are.
const ECHOES: u32 = 3;
const ECHO_BYTES: usize = 300;
const EDGE: &str = "edge";

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    #[arg(long, default_value_t = 1_000)]
    connections: usize,
    /// Seconds over which the idle CPU is measured
    #[arg(long, default_value_t = 10)]
    duration: u64,
    /// Agents that take conversations, 100 each; the rest of the conversations is open in the queue
    #[arg(long, default_value_t = 1)]
    agents: usize,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    durability: Durability,
    connections: usize,
    edges: usize,
    edge_bytes_before: u64,
    edge_bytes_after: u64,
    edge_bytes_per_connection: f64,
    bare_bytes_per_connection: f64,
    ratio: f64,
    /// Of both ends, of all processes on this machine.
    kernel_bytes_per_connection: f64,
    idle_cpu_percent_of_a_core: f64,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    ensure!(
        args.connections as u64 + FILES_BESIDE <= files,
        "this process may open {files} files: ask for fewer connections, or raise the limit (ulimit -n)"
    );
    ensure!(args.connections > 0 && args.agents > 0, "connections and agents are above 0");
    let report = match args.target.find()? {
        Some(target) => measure(&args, &target).await?,
        None => {
            let started = Started::start(2, NO_LIMITS).await?;
            let report = measure(&args, &started.target).await;
            started.stop().await?;
            report?
        }
    };
    out::say(&if args.json { serde_json::to_string(&report)? } else { text(&report) });
    Ok(ExitCode::SUCCESS)
}

async fn measure(args: &Args, target: &Target) -> anyhow::Result<Report> {
    let version = target.bus().await?.client.server_info().version;
    let edges = Procs::new(target.processes()).named(EDGE);
    if edges.is_empty() {
        bail!("CHATBUS_PIDS names no edge: memory can be read only on the machine that runs it");
    }
    let (before, kernel_before) = (edges.resident(), kernel_socket_bytes());
    let plan = Plan {
        run: rand::random(),
        conversations: args.connections,
        agents: args.agents,
        assigned: false,
        edges: target.edges()?,
    };
    let cast = Cast::assemble(target, &plan, &Board::default()).await?;
    tokio::time::sleep(SETTLE).await;
    let (after, kernel_after) = (edges.resident(), kernel_socket_bytes());
    let cpu = edges.cpu();
    tokio::time::sleep(Duration::from_secs(args.duration.max(1))).await;
    let cpu = used(&cpu, &edges.cpu()).get(EDGE).copied().unwrap_or(0);
    let lost = cast.disconnects();
    cast.dismiss().await;
    ensure!(lost == 0, "{lost} connections were lost while they were idle: the figures mean nothing");

    let echo = EchoServer::start().await?;
    let bare_before = echo.procs.resident();
    let crowd = echo.crowd(args.connections, ECHOES, &[b'x'; ECHO_BYTES]).await?;
    tokio::time::sleep(SETTLE).await;
    let bare_after = echo.procs.resident();
    drop(crowd);

    let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / args.connections as f64;
    let (edge_each, bare_each) = (each(after, before), each(bare_after, bare_before));
    Ok(Report {
        machine: Machine::look(),
        durability: Durability::ask(target, &version).await,
        connections: args.connections,
        edges: edges.len(),
        edge_bytes_before: before,
        edge_bytes_after: after,
        edge_bytes_per_connection: edge_each,
        bare_bytes_per_connection: bare_each,
        ratio: edge_each / bare_each,
        kernel_bytes_per_connection: each(kernel_after, kernel_before),
        idle_cpu_percent_of_a_core: cpu as f64 / 1e4 / args.duration.max(1) as f64,
    })
}

fn text(report: &Report) -> String {
    let kib = |bytes: f64| format!("{:.1} KiB", bytes / 1024.0);
    format!(
        "machine     {}\ndurability  {}\nsetting     {} connections on {} edges, each logged in with an open conversation\n\
         \nedge        {} a connection, resident (all edges {} before, {} after)\n\
         bare server {} a connection, resident\nratio       {:.2}\n\
         kernel      {} a connection, sockets of both ends\nidle CPU    {:.2} % of a core, all edges",
        report.machine.text(),
        report.durability.text(),
        report.connections,
        report.edges,
        kib(report.edge_bytes_per_connection),
        kib(report.edge_bytes_before as f64),
        kib(report.edge_bytes_after as f64),
        kib(report.bare_bytes_per_connection),
        report.ratio,
        kib(report.kernel_bytes_per_connection),
        report.idle_cpu_percent_of_a_core,
    )
}
