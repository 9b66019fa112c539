//! The persister's process.

use std::process::ExitCode;

use ops::service::{Main, Service};
use persister::db::{self, roles};

fn main() -> ExitCode {
    Main::new(Service::Persister)
        .check(|settings| {
            Box::pin(async move {
                let looked = db::checklist(&settings, roles::PERSISTER, &[]).await;
                looked.unwrap_or_else(|finding| vec![finding])
            })
        })
        .command("migrate", "bring both Postgres schemas up to date", |context, args| {
            Box::pin(persister::migrate(context, args))
        })
        .command("rebuild", "make the read model once more, in schema chat_rebuild", |context, args| {
            Box::pin(persister::rebuild(context, args))
        })
        .command(
            "check",
            "rebuild and compare with the kept read model, table by table [--json]",
            |context, args| Box::pin(persister::check(context, args)),
        )
        .run(persister::run)
}
