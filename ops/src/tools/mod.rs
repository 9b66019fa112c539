//! The `ops` command for people: run the system here, look at it, measure it, break it.
//!
//! It links no service. What a command finds goes to standard output; what it does meanwhile to standard error.

mod bench;
mod demo;
mod doctor;
mod env;
mod environment;
mod http;
mod out;
mod program;
mod provision;
mod replay;
mod secrets;
mod tail;
mod target;
mod token;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::dev::explain;
use crate::service::{code_of, install_crypto};

/// Runs, inspects and measures Chatbus.
#[derive(Debug, Parser)]
#[command(name = "ops", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the whole system on this machine until Ctrl-C
    Up(up::Args),
    /// Print the environment of a running `ops up`
    Env(env::Args),
    /// Play the main job: a visitor reaches an agent, and both talk
    Demo(demo::Args),
    /// Measure it
    Bench(bench::Args),
    /// Follow the log
    Tail(tail::Args),
    /// What if: the recorded log once more through the router's core, with other settings
    Replay(replay::Args),
    /// Say what is wrong on this machine, and how to mend it
    Doctor(doctor::Args),
    /// Create the streams and buckets, or widen what exists
    Provision(provision::Args),
    /// Mint or check tokens
    Token(token::Args),
    /// Make the keys and passwords of an installation
    Secrets(secrets::Args),
}

/// Does what the command line says, and answers with an exit code of the contract.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => {
            let _ = usage.print();
            return ExitCode::from(if usage.use_stderr() { crate::service::BAD_CONFIGURATION } else { 0 });
        }
    };
    install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(cli.command)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            out::note(&format!("error: {}", explain(error.as_ref())));
            ExitCode::from(code_of(&error))
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(args) => up::run(args).await,
        Command::Env(args) => env::run(&args),
        Command::Demo(args) => demo::run(args).await,
        Command::Bench(args) => bench::run(args).await,
        Command::Tail(args) => tail::run(args).await,
        Command::Replay(args) => replay::run(args).await,
        Command::Doctor(args) => doctor::run(&args).await,
        Command::Provision(args) => provision::run(&args).await,
        Command::Token(args) => token::run(&args).await,
        Command::Secrets(args) => secrets::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
