//! `ops replay`: runs `router replay` on the running system's log, for this command links no service.

use std::process::ExitCode;

use anyhow::Context as _;

use super::target::TargetArgs;
use crate::service::Unavailable;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    /// Only what started then or later: a time (RFC 3339) or a sequence of the log
    #[arg(long)]
    from: Option<String>,
    /// Every group picks agents like this: round_robin, least_loaded, sticky
    #[arg(long)]
    strategy: Option<String>,
    /// Every agent may hold so many
    #[arg(long)]
    capacity: Option<u32>,
    /// Of this tenant alone
    #[arg(long)]
    tenant: Option<String>,
    #[arg(long)]
    json: bool,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let target = args.target.bus_at_least()?;
    let program = std::env::current_exe()?.with_file_name("router");
    if !program.is_file() {
        let fix = "build all binaries: cargo build --workspace --bins";
        return Err(Unavailable::new(format!("{} is not there", program.display()), fix).into());
    }
    let mut command = tokio::process::Command::new(&program);
    command.arg("replay").env("CHATBUS_NATS_URL", target.text("NATS_URL")?);
    if let Some(credentials) = target.opt("NATS_CREDS_FILE") {
        command.env("CHATBUS_NATS_CREDS_FILE", credentials);
    }
    let capacity = args.capacity.map(|capacity| capacity.to_string());
    let flags = [
        ("--from", args.from),
        ("--strategy", args.strategy),
        ("--capacity", capacity),
        ("--tenant", args.tenant),
    ];
    for (flag, value) in flags {
        command.args(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
    }
    command.args(args.json.then_some("--json"));
    let status = command.status().await.context("run router replay")?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)))
}
