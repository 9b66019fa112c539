//! `ops doctor`: what is wrong on this machine or with what runs on it, and how to mend it.
//!
//! It changes nothing and fetches nothing; every finding that is not fine names its fix.

mod machine;
mod running;

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::out;
use super::up::{env_file, layout};
use crate::service::UNAVAILABLE;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory of the `ops up` to look at as well, if one runs there
    #[arg(long, default_value = layout::DEFAULT_DIR, env = "CHATBUS_DATA")]
    data: PathBuf,
    #[arg(long)]
    json: bool,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Fine,
    /// It works, but not as well as it could, or not for everything.
    Warning,
    Broken,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: String,
    pub status: Status,
    pub found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    pub fn fine(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self { check: check.into(), status: Status::Fine, found: found.into(), fix: None }
    }

    pub fn warning(check: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check: check.into(), status: Status::Warning, found: found.into(), fix: Some(fix.into()) }
    }

    pub fn broken(check: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check: check.into(), status: Status::Broken, found: found.into(), fix: Some(fix.into()) }
    }
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let layout = layout::Layout::new(&args.data);
    let up = std::fs::read_to_string(layout.env_file()).map(|text| env_file::parse(&text)).ok();
    let up = up.filter(running::is_alive);
    let mut findings = machine::look(&layout, up.is_some()).await?;
    findings.extend(running::look(up.as_ref()).await);

    if args.json {
        out::say(&serde_json::to_string_pretty(&findings)?);
    } else {
        findings.iter().for_each(print);
    }
    let broken = findings.iter().any(|finding| finding.status == Status::Broken);
    Ok(if broken { ExitCode::from(UNAVAILABLE) } else { ExitCode::SUCCESS })
}

fn print(finding: &Finding) {
    let mark = match finding.status {
        Status::Fine => "ok  ".to_owned(),
        Status::Warning => out::bold("warn"),
        Status::Broken => out::bold("FAIL"),
    };
    out::say(&format!("{mark} {:<12} {}", finding.check, finding.found));
    if let Some(fix) = &finding.fix {
        out::say(&format!("     {:<12} fix: {fix}", ""));
    }
}
