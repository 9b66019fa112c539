//! `ops bench limits`: what this machine allows at most, without the system: JetStream alone and a bare echo.

use std::process::ExitCode;

use serde::Serialize;

use super::{
    chat::{ECHO_CONNECTIONS, LIMIT_EACH},
    echo::{Echo, EchoServer},
    jetstream::{self, Alone, Terms},
    machine::{Durability, Machine, fsync_probe},
    procs::Procs,
    spread::Median,
};
use crate::tools::{out, target::TargetArgs};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// Bytes of each stored payload
    #[arg(long, default_value_t = 700)]
    bytes: usize,
    /// Unanswered publishes
    #[arg(long, default_value_t = 256)]
    window: usize,
    /// Copies of the stream
    #[arg(long, default_value_t = 1)]
    replicas: usize,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    machine: Machine,
    durability: Durability,
    fsync_p50_us: u64,
    fsync_max_us: u64,
    alone: Vec<Alone>,
    echo: Vec<Echo>,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let target = args.target.bus_at_least()?;
    let bus = target.bus().await?;
    let procs = Procs::new(target.processes());
    let terms =
        Terms { payload_bytes: args.bytes, window: args.window, replicas: args.replicas, each: LIMIT_EACH };
    let server = EchoServer::start().await?;
    let (mut alone, mut echo) = (Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        alone.push(jetstream::measure(&bus, &procs, &terms).await?);
        echo.push(server.measure(ECHO_CONNECTIONS, args.bytes, LIMIT_EACH).await?);
    }
    let (fsync_p50_us, fsync_max_us) = tokio::task::spawn_blocking(fsync_probe).await??;
    let durability = Durability::ask(&target, &bus.client.server_info().version).await;
    let report = Report { machine: Machine::look(), durability, fsync_p50_us, fsync_max_us, alone, echo };
    out::say(&if args.json { serde_json::to_string(&report)? } else { text(&args, &report) });
    Ok(ExitCode::SUCCESS)
}

fn text(args: &Args, report: &Report) -> String {
    let alone = |of: fn(&Alone) -> f64| median(report.alone.iter().map(of));
    let echo = |of: fn(&Echo) -> f64| median(report.echo.iter().map(of));
    format!(
        "machine     {}\ndurability  {}\nfsync       p50 {} µs, max {} µs\n\
         \nmedian of {} rounds (min..max), {} B\n\
         JetStream alone   {} per second (window {}), one PubAck p50 {} µs, {} µs of CPU each\n\
         bare echo         {} per second ({ECHO_CONNECTIONS} connections), one p50 {} µs, {} µs of CPU each",
        report.machine.text(),
        report.durability.text(),
        report.fsync_p50_us,
        report.fsync_max_us,
        args.rounds,
        args.bytes,
        alone(|alone| alone.rate),
        args.window,
        alone(|alone| alone.single.p50_us as f64),
        alone(|alone| alone.cpu_us_per_message),
        echo(|echo| echo.rate),
        echo(|echo| echo.single.p50_us as f64),
        echo(|echo| echo.cpu_us_per_message),
    )
}

fn median(values: impl Iterator<Item = f64>) -> String {
    Median::of(values).map_or_else(|| "-".to_owned(), |median| median.text())
}
