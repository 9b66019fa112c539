//! `router bench`: how fast the core alone decides, at a size and at ten times as many agents, and threads.

use std::io::Write as _;

use anyhow::bail;
use ops::service::Context;

use crate::bench::{SIZES, run, table};

pub async fn bench(_context: Context, args: Vec<String>) -> anyhow::Result<()> {
    let json = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--json"] => true,
        _ => bail!("bench takes no arguments but --json"),
    };
    let figures = tokio::task::spawn_blocking(|| SIZES.map(run)).await?;
    let text = if json { serde_json::to_string(&figures)? } else { table(&figures) };
    // A closed pipe is the reader's choice.
    let _ = writeln!(std::io::stdout(), "{text}");
    Ok(())
}
