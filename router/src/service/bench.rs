//! `router bench`: how fast the core alone decides, at a size and at ten times as many agents, and threads.

use std::{fmt::Write as _, io::Write as _};

use anyhow::bail;
use ops::service::Context;

use crate::bench::{Figures, Size, run};

/// The size that the aim is stated for.
const AIM: Size = Size { agents: 1_000, groups: 50, queued: 10_000, decisions: 20_000 };

pub async fn bench(_context: Context, args: Vec<String>) -> anyhow::Result<()> {
    let json = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--json"] => true,
        _ => bail!("bench takes no arguments but --json"),
    };
    let more_agents = Size { agents: AIM.agents * 10, ..AIM };
    let more_threads = Size { queued: AIM.queued * 10, ..AIM };
    let sizes = [AIM, more_agents, more_threads];
    let figures = tokio::task::spawn_blocking(move || sizes.map(run)).await?;
    let text = if json { serde_json::to_string(&figures)? } else { text(&figures) };
    // A closed pipe is the reader's choice.
    let _ = writeln!(std::io::stdout(), "{text}");
    Ok(())
}

fn text(figures: &[Figures]) -> String {
    let mut text = format!(
        "{:>8} {:>7} {:>8} {:>13} {:>12} {:>22}",
        "agents", "groups", "queued", "decisions/s", "µs each", "start+close+decision"
    );
    for of in figures {
        write!(
            text,
            "\n{:>8} {:>7} {:>8} {:>13.0} {:>12.2} {:>19.2} µs",
            of.agents, of.groups, of.queued, of.per_second, of.microseconds_each, of.cycle_microseconds
        )
        .expect("writing to a String never fails");
    }
    text
}
