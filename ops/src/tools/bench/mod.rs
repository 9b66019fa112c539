//! `ops bench`: how fast it is, to the protocol of the benchmarks page.
//!
//! Open loops with schedules fixed beforehand, latency from the intended instant, events counted only when they are
//! everywhere exactly once, and the machine's own limits in the same run. Figures are printed, never tested against.

mod api;
mod cast;
mod chat;
mod drain;
mod echo;
mod idle;
mod jetstream;
mod ledger;
mod limits;
mod machine;
mod manners;
mod metric;
mod own_bus;
mod own_postgres;
mod procs;
mod report;
mod route;
mod run;
mod schedule;
mod search;
mod spread;
mod store;
mod storm;

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Each list, get and search route over a large read model, with Postgres's plans
    Api(api::Args),
    /// Visitors and agents talk at a given rate, or at the highest that holds
    Chat(Box<chat::Args>),
    /// Persister empties a full log, beside a bare copy of the same rows
    Drain(drain::Args),
    /// Connections that are logged in, and quiet
    Idle(idle::Args),
    /// One of three edges killed under load: who comes back when, and what the others notice
    Storm(storm::Args),
    /// The router: its core alone, from a start to the agent who is told, and its own start
    Route(route::Args),
    /// What this machine allows at most: JetStream alone, and a bare echo
    Limits(limits::Args),
    /// The bare server that others are compared with
    #[command(hide = true)]
    EchoServer(echo::ServerArgs),
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.what {
        What::Api(args) => Box::pin(api::run(args)).await,
        What::Chat(args) => chat::run(*args).await,
        What::Drain(args) => Box::pin(drain::run(args)).await,
        What::Idle(args) => idle::run(args).await,
        What::Storm(args) => storm::run(args).await,
        What::Route(args) => Box::pin(route::run(args)).await,
        What::Limits(args) => limits::run(args).await,
        What::EchoServer(args) => echo::serve(&args).await,
    }
}
