//! The embedded migrations: run by `persister migrate` alone, verified by everybody else.
//!
//! Invariant: one process at a time changes the schemas, and a service that finds a schema older than its own does
//! not start.

use std::{collections::BTreeSet, time::Duration};

use diesel::{QueryableByName, pg::Pg, sql_types};
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use ops::service::Unavailable;
use tokio::time::{Instant, sleep};

use super::{DbError, Options, connect, roles, schema};

/// Schema `chat`: the read model.
const CHAT: EmbeddedMigrations = embed_migrations!("migrations/chat");
/// Schema `config`: what admin-api keeps.
const CONFIG: EmbeddedMigrations = embed_migrations!("migrations/config");

/// Postgres 15.
const SERVER_MIN: i32 = 150_000;
/// Any number, the same for ever: whoever holds it migrates.
const LOCK: i64 = 0x6368_6174_6275_7301;
/// How long one who migrates waits for another: as long as a migration of a large installation may take.
const TURN_MAX: Duration = Duration::from_secs(30 * 60);
const TURN_POLL: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("another process has been migrating for {TURN_MAX:?}")]
    Busy,
    #[error("a migration of schema {schema} failed: {reason}")]
    Failed { schema: String, reason: String },
}

impl From<diesel::result::Error> for MigrateError {
    fn from(error: diesel::result::Error) -> Self {
        MigrateError::Db(error.into())
    }
}

/// Brings both schemas up to date; says which migrations it ran.
pub async fn run(url: &str) -> Result<Vec<String>, MigrateError> {
    let mut ran = bring_up(url, schema::CHAT, CHAT).await?;
    ran.extend(bring_up(url, schema::CONFIG, CONFIG).await?);
    Ok(ran)
}

/// Builds the read model's tables in a schema of another name.
pub async fn run_chat_in(url: &str, target: &str) -> Result<Vec<String>, MigrateError> {
    bring_up(url, target, CHAT).await
}

/// Both schemas, in the order in which they are made.
pub const SCHEMAS: [&str; 2] = [schema::CHAT, schema::CONFIG];

/// Runs the one migration of schema `name` that is next; its version, or none if all ran.
pub async fn step_up(url: &str, name: &str) -> Result<Option<String>, MigrateError> {
    let connection = locked(url, name).await?;
    let (pending, next) = (of(name), of(name));
    in_harness(connection, name, |harness| {
        if !harness.has_pending_migration(pending)? {
            return Ok(None);
        }
        harness.run_next_migration(next).map(|version| Some(version.to_string()))
    })
    .await
}

/// Takes the newest migration of schema `name` back; its version, or none if none is left.
pub async fn step_down(url: &str, name: &str) -> Result<Option<String>, MigrateError> {
    let connection = locked(url, name).await?;
    let migrations = of(name);
    in_harness(connection, name, |harness| {
        if harness.applied_migrations()?.is_empty() {
            return Ok(None);
        }
        harness.revert_last_migration(migrations).map(|version| Some(version.to_string()))
    })
    .await
}

fn of(name: &str) -> EmbeddedMigrations {
    if name == schema::CONFIG { CONFIG } else { CHAT }
}

/// An error that ends the process with 69 if Postgres is too old or a migration of this build is missing in it.
pub async fn verify(connection: &mut AsyncPgConnection) -> Result<(), VerifyError> {
    let server = server_version(connection).await?;
    if server < SERVER_MIN {
        return Err(Unavailable::new(
            format!("Postgres is version {}", server / 10_000),
            "use Postgres 15 or newer".to_owned(),
        )
        .into());
    }
    for (name, migrations) in [(schema::CHAT, CHAT), (schema::CONFIG, CONFIG)] {
        let applied = applied(connection, name).await?;
        let missing: Vec<String> =
            embedded(&migrations).into_iter().filter(|v| !applied.contains(v)).collect();
        if !missing.is_empty() {
            return Err(Unavailable::new(
                format!("schema {name} lacks {} of this version's migrations", missing.len()),
                "run `persister migrate`".to_owned(),
            )
            .into());
        }
    }
    Ok(())
}

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("the database does not fit this version")]
    Unfit(#[source] Unavailable),
}

impl From<Unavailable> for VerifyError {
    fn from(unfit: Unavailable) -> Self {
        VerifyError::Unfit(unfit)
    }
}

impl From<diesel::result::Error> for VerifyError {
    fn from(error: diesel::result::Error) -> Self {
        VerifyError::Db(error.into())
    }
}

async fn bring_up(
    url: &str,
    name: &str,
    migrations: EmbeddedMigrations,
) -> Result<Vec<String>, MigrateError> {
    let connection = locked(url, name).await?;
    let ran: Vec<String> = in_harness(connection, name, |harness| {
        let ran = harness.run_pending_migrations(migrations)?;
        Ok(ran.iter().map(ToString::to_string).collect())
    })
    .await?;
    Ok(ran.iter().map(|version| format!("{name} {version}")).collect())
}

/// A connection that sees `name` alone and holds the lock until it is dropped.
async fn locked(url: &str, name: &str) -> Result<AsyncPgConnection, MigrateError> {
    let options = Options::new("migrate").in_schema(name).patient();
    let mut connection = connect(url, &options).await?;
    turn(&mut connection).await?;
    roles::make(&mut connection).await?;
    connection.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {name}")).await?;
    drop_unfinished(&mut connection, name).await?;
    Ok(connection)
}

/// What is made or dropped `CONCURRENTLY` and fails in between leaves an invalid index, which serves nobody and keeps its
/// name from the next try.
async fn drop_unfinished(connection: &mut AsyncPgConnection, name: &str) -> Result<(), DbError> {
    #[derive(QueryableByName)]
    struct Index {
        #[diesel(sql_type = sql_types::Text)]
        index: String,
    }
    let unfinished = "SELECT format('%I.%I', n.nspname, c.relname) AS index
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND NOT i.indisvalid";
    let found: Vec<Index> =
        diesel::sql_query(unfinished).bind::<sql_types::Text, _>(name).load(connection).await?;
    for Index { index } in found {
        tracing::warn!(index, "an index that was not finished is dropped");
        connection.batch_execute(&format!("DROP INDEX CONCURRENTLY IF EXISTS {index}")).await?;
    }
    Ok(())
}

/// Waits for the lock. Asks again and again: one who waits inside a statement holds a snapshot, which the other's
/// `CREATE INDEX CONCURRENTLY` would wait for.
async fn turn(connection: &mut AsyncPgConnection) -> Result<(), MigrateError> {
    #[derive(QueryableByName)]
    struct Turn {
        #[diesel(sql_type = sql_types::Bool)]
        mine: bool,
    }
    let began = Instant::now();
    loop {
        let ask = diesel::sql_query(format!("SELECT pg_try_advisory_lock({LOCK}) AS mine"));
        if ask.get_result::<Turn>(connection).await?.mine {
            return Ok(());
        }
        if began.elapsed() > TURN_MAX {
            return Err(MigrateError::Busy);
        }
        sleep(TURN_POLL).await;
    }
}

type Harness = AsyncMigrationHarness<AsyncPgConnection>;

async fn in_harness<T, W>(connection: AsyncPgConnection, name: &str, work: W) -> Result<T, MigrateError>
where
    T: Send + 'static,
    W: FnOnce(&mut Harness) -> diesel::migration::Result<T> + Send + 'static,
{
    // The harness blocks its thread and takes the wake-ups meant for whatever else the same task waits for, which
    // then waits for ever. So it has a thread of its own.
    let blocking = tokio::task::spawn_blocking(move || {
        let mut harness = AsyncMigrationHarness::new(connection);
        let done = work(&mut harness).map_err(|error| error.to_string());
        (done, harness.into_inner())
    });
    let (done, mut connection) = blocking.await.map_err(|error| failed(name, error.to_string()))?;
    // Given back at once, not when the server notices that the connection is gone.
    connection.batch_execute(&format!("SELECT pg_advisory_unlock({LOCK})")).await?;
    done.map_err(|reason| failed(name, reason))
}

fn failed(schema: &str, reason: String) -> MigrateError {
    MigrateError::Failed { schema: schema.to_owned(), reason }
}

fn embedded(migrations: &EmbeddedMigrations) -> BTreeSet<String> {
    let all = diesel::migration::MigrationSource::<Pg>::migrations(migrations);
    let all = all.expect("embedded migrations are read at compile time");
    all.iter().map(|migration| migration.name().version().to_string()).collect()
}

async fn server_version(connection: &mut AsyncPgConnection) -> Result<i32, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::Integer)]
        version: i32,
    }
    let query = diesel::sql_query("SELECT current_setting('server_version_num')::int AS version");
    Ok(query.get_result::<Row>(connection).await?.version)
}

/// The migrations that ran in schema `name`; none if it is not there.
async fn applied(connection: &mut AsyncPgConnection, name: &str) -> Result<BTreeSet<String>, DbError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = sql_types::Text)]
        version: String,
    }
    #[derive(QueryableByName)]
    struct There {
        #[diesel(sql_type = sql_types::Bool)]
        there: bool,
    }
    let table = format!("{name}.__diesel_schema_migrations");
    let there =
        diesel::sql_query("SELECT to_regclass($1) IS NOT NULL AS there").bind::<sql_types::Text, _>(&table);
    if !there.get_result::<There>(connection).await?.there {
        return Ok(BTreeSet::new());
    }
    let rows: Vec<Row> = diesel::sql_query(format!("SELECT version FROM {table}")).load(connection).await?;
    Ok(rows.into_iter().map(|row| row.version).collect())
}
