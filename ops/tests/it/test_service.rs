//! The smallest service: what a `main` and a `run` look like. The tests of the life cycle run it, and nothing else.
//!
//! Invariant: it does what its environment says and touches nothing outside itself.

use std::{process::ExitCode, time::Duration};

use ops::service::{Context, Main, Service};

fn main() -> ExitCode {
    Main::new(Service::Router)
        .command("fail", "end with an error", |_, _| Box::pin(async { anyhow::bail!("as asked") }))
        .run(run)
}

async fn run(context: Context) -> anyhow::Result<()> {
    let check = context.health.check("work");
    check.ok();
    // How long this service takes to drain, and whether a task of it fails, come from its environment.
    let drain = std::env::var("EXAMPLE_DRAIN_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(0);
    let shutdown = context.shutdown.clone();
    context.tasks.spawn(async move {
        shutdown.cancelled().await;
        tokio::time::sleep(Duration::from_millis(drain)).await;
    });
    match std::env::var("EXAMPLE_TASK").as_deref() {
        Ok("fails") => context.spawn("example", async { anyhow::bail!("a task failed") }),
        Ok("panics") => context.spawn("example", async { panic!("a task panicked") }),
        _ => {}
    }
    context.shutdown.cancelled().await;
    Ok(())
}
