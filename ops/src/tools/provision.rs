//! `ops provision`: the streams and buckets that the system needs.
//!
//! Safe to repeat: what exists is only ever widened, and what differs otherwise is told.

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::up::layout;
use super::{environment, out};
use crate::nats::{Options, connect_with};
use crate::provision::{self, Item, Outcome, Plan};
use crate::service::UNAVAILABLE;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only say what is missing or different
    #[arg(long)]
    check: bool,
    /// The directory of the `ops up` that is meant, when the environment names no server
    #[arg(long, default_value = layout::DEFAULT_DIR, env = "CHATBUS_DATA")]
    data: PathBuf,
    #[arg(long)]
    json: bool,
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let settings = environment::settings(&args.data)?;
    let bus = connect_with(Options::from_settings(&settings, "ops")).await?;
    let plan = Plan::from_settings(&settings);
    let items = if args.check {
        provision::inspect(&bus, &plan).await?
    } else {
        provision::apply(&bus, &plan).await?
    };
    if args.json {
        let items: Vec<_> =
            items.iter().map(|item| json!({ "stream": item.stream, "outcome": text(item) })).collect();
        out::say(&serde_json::to_string_pretty(&items)?);
    } else {
        items.iter().for_each(|item| out::say(&format!("{:<20} {}", item.stream, text(item))));
    }
    let unfit = |item: &Item| matches!(item.outcome, Outcome::Missing | Outcome::Differs(_));
    Ok(if items.iter().any(unfit) { ExitCode::from(UNAVAILABLE) } else { ExitCode::SUCCESS })
}

fn text(item: &Item) -> String {
    let list = |differences: &[provision::Difference]| {
        differences.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    match &item.outcome {
        Outcome::Created => "created".to_owned(),
        Outcome::Same => "as it should be".to_owned(),
        Outcome::Changed(differences) => format!("changed: {}", list(differences)),
        Outcome::Differs(differences) => format!("differs: {}", list(differences)),
        Outcome::Missing => "missing".to_owned(),
    }
}
