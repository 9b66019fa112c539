//! `persister run`: one worker for each shard.
//!
//! Invariant: nothing is written before the schema is known to be at least as new as this build.

use std::{future::Future, time::Duration};

use anyhow::Context as _;
use ops::{
    nats,
    provision::{self, ProvisionError},
    service::{Context, Unavailable},
    settings::names,
};
use tokio::time::{Instant, sleep};

use crate::{
    db::{DbError, Options, Pool, migrations, roles},
    worker::{Checks, Worker},
};

const RETRY: Duration = Duration::from_millis(250);

pub async fn run(context: Context) -> anyhow::Result<()> {
    // Not ready until each has spoken.
    for name in ["postgres", "bus", "log"] {
        context.health.check(name);
    }
    // Rows and watermark are forgotten together, and the log still has them.
    let options = Options::new("persister").working_as(roles::PERSISTER).repeatable();
    let pool = Pool::with_options(&context.settings, &options)?;
    if !ready(&context, &pool).await? {
        return Ok(());
    }
    let bus = nats::connect(&context, "persister").await?;
    let shards = provision::shards(&context.settings);
    match provision::verify(&bus, &shards).await {
        Err(error @ ProvisionError::NotAsPlanned(_)) => return Err(error.into()),
        // The bus is moving: each worker waits for its log, and says so.
        Err(error) => tracing::warn!(%error, "the streams could not be verified"),
        Ok(()) => {}
    }
    let checks = Checks::new(&context.health, &shards);
    for shard in shards {
        let worker = Worker::new(bus.clone(), pool.clone(), shard, checks.clone());
        context.tasks.spawn(worker.run(context.shutdown.clone()));
    }
    context.shutdown.cancelled().await;
    Ok(())
}

/// Waits for Postgres and verifies its schema; false if told to stop meanwhile.
async fn ready(context: &Context, pool: &Pool) -> anyhow::Result<bool> {
    let check = context.health.check("postgres");
    let deadline = Instant::now() + context.settings.millis(names::NATS_WAIT_MS);
    let connected = patiently(deadline, || pool.get());
    let Some(connection) = context.shutdown.run_until_cancelled(connected).await else { return Ok(false) };
    let mut connection = connection.map_err(|error| {
        let fix = format!("start it, or set CHATBUS_{}", names::DATABASE_URL);
        Unavailable::new(error.to_string(), fix)
    })?;
    migrations::verify(&mut connection).await.context("verify the schema")?;
    check.ok();
    Ok(true)
}

/// Tries until it works or the deadline passed.
async fn patiently<T, F, Fut>(deadline: Instant, attempt: F) -> Result<T, DbError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, DbError>>,
{
    loop {
        match attempt().await {
            Err(error) if error.is_transient() && Instant::now() < deadline => {
                tracing::debug!(%error, "waiting for Postgres");
                sleep(RETRY).await;
            }
            done => return done,
        }
    }
}
