//! Errors as RFC 9457 problems.
//!
//! Invariant: a handler only says what went wrong; [`super::finish`] writes the bytes, so every error of every
//! origin has the same form, with the request's id in it.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bus_schema::{ErrorBody, ErrorCode, FieldError};
use http::{HeaderValue, StatusCode, header};
use persister::db::DbError;

#[derive(Debug, Clone, thiserror::Error)]
#[error("{body}")]
pub struct Problem {
    pub status: StatusCode,
    pub body: ErrorBody,
}

impl Problem {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        ErrorBody::new(code, message).into()
    }

    /// The request's form is wrong: 400.
    pub fn malformed(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        ErrorBody::field(pointer, message).into()
    }

    /// Values are wrong: 422.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, body: ErrorBody::fields(errors) }
    }

    /// One value is wrong: 422.
    pub fn value(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(pointer, message)])
    }

    pub fn not_found() -> Self {
        ErrorCode::NotFound.into()
    }

    /// Something of this name is there already.
    pub fn taken(pointer: &str, message: &str) -> Self {
        let mut body = ErrorBody::new(ErrorCode::AlreadyExists, message);
        body.errors.push(FieldError::new(pointer, message));
        body.into()
    }

    pub fn unavailable(message: &str, after: Duration) -> Self {
        ErrorBody::new(ErrorCode::Unavailable, message).after(after).into()
    }

    /// A fault of ours: told to the log, not to the caller.
    pub fn fault(what: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, what, "request failed");
        ErrorCode::Internal.into()
    }
}

impl From<ErrorBody> for Problem {
    fn from(body: ErrorBody) -> Self {
        let status = StatusCode::from_u16(body.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, body }
    }
}

impl From<ErrorCode> for Problem {
    fn from(code: ErrorCode) -> Self {
        ErrorBody::from(code).into()
    }
}

const DATABASE_AWAY: Duration = Duration::from_secs(1);

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        if error.is_transient() {
            tracing::warn!(%error, "Postgres");
            return Self::unavailable("the database is not available now", DATABASE_AWAY);
        }
        Self::fault("Postgres", &error)
    }
}

impl From<diesel::result::Error> for Problem {
    fn from(error: diesel::result::Error) -> Self {
        DbError::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.body.after_ms > 0 {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(self.body.after_ms.div_ceil(1000)));
        }
        response.extensions_mut().insert(self);
        response
    }
}
