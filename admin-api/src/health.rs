//! `GET /healthz`, and the readiness check.

use std::time::Duration;

use axum::extract::State;
use bus_schema::ErrorCode;
use diesel_async::RunQueryDsl;
use http::StatusCode;
use ops::{health::Check, service::Context};
use persister::db::{DbError, Pool};

use crate::{app::App, http::Problem};

const CHECK_EVERY: Duration = Duration::from_secs(2);
/// A database that does not answer within this time is away.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

async fn ask(pool: &Pool) -> Result<(), DbError> {
    let mut connection = pool.get().await?;
    diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>("1"))
        .get_result::<i32>(&mut connection)
        .await?;
    Ok(())
}

async fn ask_in_time(pool: &Pool) -> Result<(), String> {
    match tokio::time::timeout(ANSWER_WITHIN, ask(pool)).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("Postgres does not answer".to_owned()),
    }
}

/// 200 or 503, no detail: what a load balancer asks on the public port.
pub async fn healthz(State(app): State<App>) -> Result<StatusCode, Problem> {
    ask_in_time(&app.pool).await.map(|()| StatusCode::OK).map_err(|_| ErrorCode::Unavailable.into())
}

/// Keeps the check `postgres` until shutdown.
pub async fn watch_postgres(context: Context, pool: Pool) -> anyhow::Result<()> {
    let check: Check = context.health.check("postgres");
    let mut tick = tokio::time::interval(CHECK_EVERY);
    while context.shutdown.run_until_cancelled(tick.tick()).await.is_some() {
        match ask_in_time(&pool).await {
            Ok(()) => check.ok(),
            Err(reason) => check.fail(reason),
        }
    }
    Ok(())
}
