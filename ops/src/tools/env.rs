//! `ops env`: the environment of a running system, as `up.env` has it.
//!
//! Prints lines that a shell reads with `set -a; . FILE`, or JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use super::out;
use super::up::{env_file, layout};
use crate::service::Unavailable;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory that `ops up` was given
    #[arg(long, default_value = layout::DEFAULT_DIR, env = "CHATBUS_DATA")]
    data: PathBuf,
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let path = layout::Layout::new(&args.data).env_file();
    let text = std::fs::read_to_string(&path).map_err(|_| {
        let fix = format!("start it with: sh ops/up.sh --data {}", args.data.display());
        Unavailable::new(
            format!("nothing runs in {} ({} is not there)", args.data.display(), path.display()),
            fix,
        )
    })?;
    if args.json {
        let values: BTreeMap<_, _> = env_file::parse(&text).into_iter().collect();
        out::say(&serde_json::to_string_pretty(&values)?);
    } else {
        out::say(text.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}
