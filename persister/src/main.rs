//! The persister's process.

use std::process::ExitCode;

use ops::service::{Main, Service};

fn main() -> ExitCode {
    Main::new(Service::Persister)
        .command("migrate", "bring both Postgres schemas up to date", |context, args| {
            Box::pin(persister::migrate(context, args))
        })
        .run(persister::run)
}
