//! `ops up`: the whole system on this machine, until Ctrl-C.
//!
//! Servers are private and their data stays in the directory; whatever way this process ends, everything it started ends
//! with it. `up.env` says that all of it is ready.

mod banner;
pub mod env_file;
pub mod keys;
pub mod layout;
pub mod plan;
mod room;
pub mod secrets;
mod seed;
mod servers;
mod start;
mod supervisor;

use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::out;
use crate::dev::limits;
use crate::dev::nats::Sync;
use layout::Layout;
use start::System;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where data, keys and logs are kept
    #[arg(long, default_value = layout::DEFAULT_DIR, env = "CHATBUS_DATA")]
    pub data: PathBuf,
    /// Remove what an earlier run left in the directory
    #[arg(long)]
    pub fresh: bool,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub edges: u16,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub routers: u16,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub persisters: u16,
    /// One nats-server, or a cluster of three
    #[arg(long, default_value = "1", value_parser = ["1", "3"])]
    pub nats_replicas: String,
    /// Whether each message is on disk before it is acknowledged
    #[arg(long, default_value = "default")]
    pub sync: SyncArg,
    #[arg(long, default_value = "fixed")]
    pub ports: PortsArg,
    /// Print what runs as JSON instead of the banner
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SyncArg {
    Always,
    Default,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PortsArg {
    /// Those of the documentation
    Fixed,
    /// Free ones
    Auto,
}

impl From<SyncArg> for Sync {
    fn from(arg: SyncArg) -> Self {
        match arg {
            SyncArg::Always => Self::Always,
            SyncArg::Default => Self::Default,
        }
    }
}

/// Brings everything up, says so, and takes it down when told to.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let told_to_stop = on_signals()?;
    limits::raise_open_files();
    let mut layout = Layout::new(&args.data);
    let _lock = layout.prepare(args.fresh, &args.nats_replicas)?;
    let mut system = System::new(layout);
    let result = tokio::select! {
        result = system.start(&args) => result,
        () = told_to_stop.cancelled() => Ok(()),
    };
    if result.is_ok() && !told_to_stop.is_cancelled() {
        system.announce(args.json)?;
        told_to_stop.cancelled().await;
    }
    out::note("stopping");
    system.stop().await;
    result.map(|()| ExitCode::SUCCESS)
}

/// The first signal asks for an ordered end, the second ends at once; even then the guards end what was started.
fn on_signals() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let told = stop.clone();
    let mut signals =
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal).into_iter();
    let mut next = || signals.next().expect("there are three");
    let (mut interrupt, mut terminate, mut hangup) = (next()?, next()?, next()?);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            if told.is_cancelled() {
                std::process::exit(1);
            }
            told.cancel();
        }
    });
    Ok(stop)
}
