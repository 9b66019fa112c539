//! `ops replay`: runs `router replay` on the running system's log, for this command links no service.

use std::{path::Path, process::ExitCode};

use anyhow::Context as _;

use super::{
    program::program,
    target::{Target, TargetArgs},
    up::keys::bus_seed,
};
use crate::{
    service::Service,
    settings::{names, table::PREFIX},
};

/// What its router needs to know of the system beside where its bus is.
const FORWARDED: [&str; 2] = [names::SHARDS, names::AGENT_GRACE_MS];

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
    let mut command = tokio::process::Command::new(program("router")?);
    command.arg("replay").envs(environment(&target)?);
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

/// What is known of the system, as settings of the router.
fn environment(target: &Target) -> anyhow::Result<Vec<(String, String)>> {
    let url = (names::NATS_URL, target.text(names::NATS_URL)?.to_owned());
    let others = FORWARDED.iter().filter_map(|name| Some((*name, target.opt(name)?.to_owned())));
    let user = target.opt(names::NATS_CREDS_FILE).map(|own| (names::NATS_CREDS_FILE, router_user(own)));
    let named = |(name, value): (&str, String)| (format!("{PREFIX}{name}"), value);
    Ok([url].into_iter().chain(others).chain(user).map(named).collect())
}

/// Who a router is on the bus, if its key lies beside this command's: each service hears its own inbox alone.
fn router_user(own: &str) -> String {
    let beside = Path::new(own).parent().map(|keys| bus_seed(keys, Service::Router));
    let router = beside.filter(|seed| seed.is_file());
    router.map_or_else(|| own.to_owned(), |seed| seed.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_router_is_told_of_the_shards_and_the_grace_time_of_the_system_that_is_named() {
        let target = Target::of(
            "CHATBUS_NATS_URL=nats://here\nCHATBUS_SHARDS=0,1\nCHATBUS_AGENT_GRACE_MS=5000\nCHATBUS_ADMIN_URL=x\n",
        );
        let told = environment(&target).unwrap();
        let told: Vec<String> = told.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            told,
            ["CHATBUS_NATS_URL=nats://here", "CHATBUS_SHARDS=0,1", "CHATBUS_AGENT_GRACE_MS=5000"]
        );
        assert!(environment(&Target::of("CHATBUS_SHARDS=0")).is_err());
    }
}
