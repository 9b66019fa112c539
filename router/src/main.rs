//! The router's process.

use std::process::ExitCode;

use ops::service::{Main, Service};
use router::service::{REPLAY_USAGE, bench, replay, run};

fn main() -> ExitCode {
    Main::new(Service::Router)
        .command("replay", REPLAY_USAGE, |context, args| Box::pin(replay(context, args)))
        .command("bench", "how fast the core alone decides [--json]", |context, args| {
            Box::pin(bench(context, args))
        })
        .run(run)
}
