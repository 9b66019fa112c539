//! What can go wrong with Postgres, by who can mend it.
//!
//! Invariant: no variant ever prints a statement's parameters or the database's address with its password.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::pooled_connection::{PoolError as ManagerError, deadpool};

#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// Not reachable, or the connection broke: the outcome of a transaction in flight is unknown.
    #[error("Postgres cannot be reached: {0}")]
    Unavailable(String),
    /// Every connection of the pool stayed busy for too long.
    #[error("no free connection to Postgres")]
    Busy,
    #[error("the database address is not valid: {0}")]
    BadUrl(String),
    /// The statement was refused.
    #[error("Postgres refused: {0}")]
    Query(#[source] DieselError),
}

impl DbError {
    /// Whether the same may work later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            DbError::Unavailable(_) | DbError::Busy => true,
            DbError::Query(DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _)) => true,
            DbError::BadUrl(_) | DbError::Query(_) => false,
        }
    }

    /// Whether a unique or primary key was violated.
    pub fn is_conflict(&self) -> bool {
        matches!(self, DbError::Query(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)))
    }
}

impl From<DieselError> for DbError {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::BrokenTransactionManager => {
                DbError::Unavailable("the connection broke in a transaction".to_owned())
            }
            DieselError::DatabaseError(
                DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand,
                info,
            ) => DbError::Unavailable(info.message().to_owned()),
            other => DbError::Query(other),
        }
    }
}

impl From<diesel::ConnectionError> for DbError {
    fn from(error: diesel::ConnectionError) -> Self {
        match error {
            diesel::ConnectionError::CouldntSetupConfiguration(error) => error.into(),
            other => DbError::Unavailable(other.to_string()),
        }
    }
}

impl From<deadpool::PoolError> for DbError {
    fn from(error: deadpool::PoolError) -> Self {
        match error {
            deadpool::PoolError::Timeout(_) => DbError::Busy,
            deadpool::PoolError::Backend(ManagerError::ConnectionError(error)) => error.into(),
            deadpool::PoolError::Backend(ManagerError::QueryError(error)) => error.into(),
            other => DbError::Unavailable(other.to_string()),
        }
    }
}
