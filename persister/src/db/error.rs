//! What can go wrong with Postgres, by who can mend it.
//!
//! Invariant: no variant ever prints a statement's parameters or the database's address with its password.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::pooled_connection::{PoolError as ManagerError, deadpool};

/// How Postgres words what passes by itself: timeouts, deadlocks, a server that ends, starts or is full. diesel hands
/// on no SQLSTATE, and a server with another `lc_messages` says it in words that are not known here: then these are
/// errors like any other.
const PASSING: [&str; 10] = [
    "canceling statement due to",
    "could not extend file",
    "could not obtain lock",
    "could not serialize access",
    "could not write",
    "deadlock detected",
    "out of memory",
    "out of shared memory",
    "terminating connection",
    "the database system is",
];
/// How it words that a value is one that it cannot keep.
const UNFIT: [&str; 6] = [
    "index row",
    "invalid byte sequence",
    "invalid input syntax",
    "out of range",
    "unsupported Unicode escape sequence",
    "value too long",
];

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
            DbError::Query(DieselError::DatabaseError(kind, info)) => match kind {
                DatabaseErrorKind::SerializationFailure | DatabaseErrorKind::ReadOnlyTransaction => true,
                _ => PASSING.iter().any(|words| info.message().starts_with(words)),
            },
            DbError::BadUrl(_) | DbError::Query(_) => false,
        }
    }

    /// Whether a value was refused that no later try will have taken. What is not surely that is not.
    pub fn is_refusal(&self) -> bool {
        match self {
            DbError::Query(DieselError::SerializationError(_)) => true,
            DbError::Query(DieselError::DatabaseError(kind, info)) => match kind {
                DatabaseErrorKind::CheckViolation | DatabaseErrorKind::NotNullViolation => true,
                _ => !self.is_transient() && UNFIT.iter().any(|words| info.message().contains(words)),
            },
            _ => false,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str) -> DbError {
        // Any kind that says nothing by itself.
        DieselError::DatabaseError(DatabaseErrorKind::RestrictViolation, Box::new(message.to_owned())).into()
    }

    #[test]
    fn what_passes_is_told_from_what_will_never_be_taken() {
        for passing in [
            "canceling statement due to statement timeout",
            "canceling statement due to lock timeout",
            "deadlock detected",
            "could not extend file \"base/5/1\": No space left on device",
        ] {
            let error = said(passing);
            assert!(error.is_transient() && !error.is_refusal(), "{passing}");
        }
        for unfit in ["invalid input syntax for type json", "index row size 9000 exceeds btree version 4"] {
            let error = said(unfit);
            assert!(error.is_refusal() && !error.is_transient(), "{unfit}");
        }
        for other in ["relation \"messages\" does not exist", "permission denied for table messages"] {
            let error = said(other);
            assert!(!error.is_refusal() && !error.is_transient(), "{other}");
        }
    }
}
