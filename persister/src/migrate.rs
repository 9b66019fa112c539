//! `persister migrate`: the only place where migrations run.

use anyhow::ensure;
use ops::{
    service::{Context, Unavailable},
    settings::names,
};

use crate::db::migrations::{self, MigrateError};

pub async fn migrate(context: Context, args: Vec<String>) -> anyhow::Result<()> {
    ensure!(args.is_empty(), "migrate takes no arguments");
    let url = context.settings.secret(names::DATABASE_URL);
    let ran = migrations::run(url).await.map_err(|error| match error {
        MigrateError::Db(error) if error.is_transient() => {
            let fix = format!("start it, or set CHATBUS_{}", names::DATABASE_URL);
            anyhow::Error::new(Unavailable::new(error.to_string(), fix))
        }
        other => anyhow::Error::new(other),
    })?;
    if ran.is_empty() {
        tracing::info!("the schemas are up to date");
    }
    for name in ran {
        tracing::info!(migration = name, "migrated");
    }
    Ok(())
}
