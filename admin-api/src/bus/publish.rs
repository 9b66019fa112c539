//! The outbox to the bus: what was committed is published, in any order, by any instance, until it is there.
//!
//! Invariant: a record on the bus is only replaced by one with a higher revision, so late and repeated publishing
//! changes nothing; a row leaves the outbox only after its record is stored; one that cannot be published holds up
//! no other.

use std::time::Duration;

use bus_schema::{TenantId, config::Record, stream};
use bytes::Bytes;
use diesel::{dsl::count_star, prelude::*};
use diesel_async::RunQueryDsl;
use ops::{
    kv::{Kv, KvError},
    nats::Bus,
    service::Context,
};
use persister::db::{At, Id, schema::config::outbox};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::compare;
use crate::{app::App, clock, http::Problem, metrics};

/// Rows of one round.
const ROUND: i64 = 100;
/// How often the outbox is looked at without being woken: another instance may have died with rows in it.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(5);
/// How often everything is compared, whether or not there is doubt.
const COMPARE_EVERY: Duration = Duration::from_secs(600);
/// How long a row waits that the bus refused.
const ROW_RETRY_FIRST: Duration = Duration::from_secs(1);
const ROW_RETRY_LAST: Duration = Duration::from_secs(60);
/// Tries against writers of the same key.
const RACES_MAX: u32 = 10;

#[derive(Queryable, Selectable)]
#[diesel(table_name = outbox)]
struct Row {
    tenant_id: Id<TenantId>,
    id: Uuid,
    bucket: String,
    key: String,
    value: Vec<u8>,
    attempts: i32,
}

/// Publishes until shutdown; compares everything at start, after each reconnect, and now and then.
pub async fn publisher(context: Context, app: App) -> anyhow::Result<()> {
    let shutdown = context.shutdown.clone();
    shutdown.run_until_cancelled(Box::pin(run(&app))).await;
    Ok(())
}

async fn run(app: &App) {
    let mut link = app.bus.clone();
    let Some(bus) = link.wait().await else { return };
    let mut compared: Option<(u64, Instant)> = None;
    let mut pause = RETRY_FIRST;
    loop {
        let generation = bus.generation();
        let fresh = compared.is_some_and(|(at, when)| at == generation && when.elapsed() < COMPARE_EVERY);
        match work(app, &bus, !fresh).await {
            Ok(()) => {
                if !fresh {
                    compared = Some((generation, Instant::now()));
                }
                pause = RETRY_FIRST;
                // Being woken and the time being up mean the same: look again.
                let _ = timeout(LOOK_EVERY, app.wake.notified()).await;
            }
            Err(reason) => {
                tracing::warn!(reason, "the bus was not told of all changes; trying again");
                sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
                pause = (pause * 2).min(RETRY_LAST);
            }
        }
    }
}

async fn work(app: &App, bus: &Bus, compare: bool) -> Result<(), String> {
    if !bus.is_connected() {
        return Err("the bus is away".to_owned());
    }
    let config = Kv::open(bus, stream::CONFIG).await.map_err(plain)?;
    let revoked = Kv::open(bus, stream::REVOKED).await.map_err(plain)?;
    drain(app, bus, &config, &revoked).await?;
    if compare {
        let repaired = compare::everything(app, &config).await?;
        if repaired > 0 {
            tracing::warn!(repaired, "records on the bus differed from Postgres and were set right");
            metrics::repaired(repaired);
            drain(app, bus, &config, &revoked).await?;
        }
    }
    Ok(())
}

pub(super) fn plain(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

pub(super) fn told(problem: Problem) -> String {
    problem.to_string()
}

async fn drain(app: &App, bus: &Bus, config: &Kv, revoked: &Kv) -> Result<(), String> {
    loop {
        let mut connection = app.pool.get().await.map_err(plain)?;
        let rows: Vec<Row> = outbox::table
            .filter(outbox::retry_at.le(At(clock::now())))
            .order((outbox::retry_at, outbox::created_at, outbox::id))
            .limit(ROUND)
            .select(Row::as_select())
            .load(&mut connection)
            .await
            .map_err(plain)?;
        let waiting = outbox::table.select(count_star()).first(&mut connection).await.map_err(plain)?;
        drop(connection);
        metrics::outbox(waiting);
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows {
            if let Err(error) = publish(config, revoked, &row).await {
                if !bus.is_connected() {
                    return Err(plain(error));
                }
                put_off(app, &row, &plain(error)).await.map_err(told)?;
                continue;
            }
            metrics::published();
            let done = outbox::table.find((row.tenant_id, row.id));
            let mut connection = app.pool.get().await.map_err(plain)?;
            diesel::delete(done).execute(&mut connection).await.map_err(plain)?;
        }
    }
}

/// Lets a row wait, longer each time, while others go on.
async fn put_off(app: &App, row: &Row, reason: &str) -> Result<(), Problem> {
    let wait = ROW_RETRY_FIRST.saturating_mul(1 << row.attempts.clamp(0, 16)).min(ROW_RETRY_LAST);
    tracing::warn!(
        reason,
        key = row.key,
        attempts = row.attempts + 1,
        "a change could not be published; later"
    );
    metrics::put_off();
    diesel::update(outbox::table.find((row.tenant_id, row.id)))
        .set((outbox::attempts.eq(outbox::attempts + 1), outbox::retry_at.eq(At(clock::now().plus(wait)))))
        .execute(&mut app.pool.get().await?)
        .await?;
    Ok(())
}

async fn publish(config: &Kv, revoked: &Kv, row: &Row) -> Result<(), KvError> {
    if row.bucket == stream::REVOKED.name {
        return revoked.put(&row.key, row.value.clone()).await.map(drop);
    }
    match Record::decode(&row.key, &row.value) {
        Ok(record) => put_newer(config, &record).await.map(drop),
        Err(error) => {
            // It was written by a newer version of this service, which publishes it itself by comparing.
            tracing::error!(%error, "a row of the outbox cannot be read and is dropped");
            Ok(())
        }
    }
}

/// Writes the record unless the bus has one at least as new; whether it wrote.
pub(super) async fn put_newer(config: &Kv, record: &Record) -> Result<bool, KvError> {
    let (key, value) = (record.key(), Bytes::from(record.encode()));
    let mut races = 0;
    loop {
        let there = config.get(&key).await?;
        let known = there.as_ref().and_then(|entry| Record::decode(&key, &entry.value).ok());
        if known.is_some_and(|known| known.revision() >= record.revision()) {
            return Ok(false);
        }
        let wrote = match there {
            Some(entry) => config.update(&key, value.clone(), entry.revision).await,
            None => config.create(&key, value.clone(), None).await,
        };
        match wrote {
            Ok(_) => return Ok(true),
            Err(error) if error.is_mismatch() && races < RACES_MAX => races += 1,
            Err(error) => return Err(error),
        }
    }
}
