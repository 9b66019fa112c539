//! One connection to Postgres, with what every connection of ours has in common.
//!
//! Invariant: a server that is gone is noticed within [`UNANSWERED_MAX`], and no statement runs for ever.

use std::time::Duration;

use diesel::{ConnectionError, ConnectionResult};
use diesel_async::AsyncPgConnection;

use super::DbError;

const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long sent bytes may stay unacknowledged by the other machine.
const UNANSWERED_MAX: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(10);

/// How a connection is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Shown in `pg_stat_activity`.
    pub application: String,
    /// What unqualified names mean: this schema alone.
    pub schema: String,
    /// As whom to work; none: as who logs in.
    pub role: Option<&'static str>,
    pub statement_max: Duration,
    /// How long a statement waits for a lock.
    pub lock_max: Duration,
    /// Whether a commit waits for the disk.
    pub durable: bool,
}

impl Options {
    pub fn new(application: &str) -> Self {
        Self {
            application: format!("chatbus-{application}"),
            schema: super::schema::CHAT.to_owned(),
            role: None,
            statement_max: Duration::from_secs(30),
            lock_max: Duration::from_secs(10),
            durable: true,
        }
    }

    /// For unqualified names in `schema`. Only names of our own get here.
    pub fn in_schema(mut self, schema: &str) -> Self {
        debug_assert!(schema.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{schema}");
        schema.clone_into(&mut self.schema);
        self
    }

    /// Works as one of [`super::roles`].
    pub fn working_as(mut self, role: &'static str) -> Self {
        self.role = Some(role);
        self
    }

    /// For who can do again what was done: a server that crashes may have forgotten the commits of its last moments,
    /// always the newest and whole ones, and never any that were made before a remembered one.
    pub fn repeatable(mut self) -> Self {
        self.durable = false;
        self
    }

    /// Statements may take as long as they take.
    pub fn patient(mut self) -> Self {
        self.statement_max = Duration::ZERO;
        self
    }
}

pub async fn connect(url: &str, options: &Options) -> Result<AsyncPgConnection, DbError> {
    Ok(establish(config(url, options)?).await?)
}

pub(super) fn config(url: &str, options: &Options) -> Result<tokio_postgres::Config, DbError> {
    // The parser's error may quote the address, which holds a password.
    let parsed = url.parse::<tokio_postgres::Config>();
    let mut config =
        parsed.map_err(|_| DbError::BadUrl("expected postgres://user@host:port/name".to_owned()))?;
    config
        .application_name(&options.application)
        .options(format!(
            "-c search_path={} -c statement_timeout={} -c lock_timeout={} -c TimeZone=UTC \
             -c synchronous_commit={}{}",
            options.schema,
            options.statement_max.as_millis(),
            options.lock_max.as_millis(),
            if options.durable { "on" } else { "off" },
            options.role.map(|role| format!(" -c role={role}")).unwrap_or_default(),
        ))
        .connect_timeout(CONNECT_MAX)
        .tcp_user_timeout(UNANSWERED_MAX)
        .keepalives_idle(KEEPALIVE);
    Ok(config)
}

pub(super) async fn establish(config: tokio_postgres::Config) -> ConnectionResult<AsyncPgConnection> {
    let connected = config.connect(tokio_postgres::NoTls).await;
    // `ConnectionError` prints its source, which says why.
    let (client, connection) = connected.map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        ConnectionError::BadConnection(format!("{error}{cause}"))
    })?;
    AsyncPgConnection::try_from_client_and_connection(client, connection).await
}
