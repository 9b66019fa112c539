//! Error codes with their HTTP status: the one table for sockets, HTTP and commands (contract §3).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! codes {
    ($($variant:ident $name:literal $status:literal $retryable:literal $meaning:literal;)*) => {
        /// What went wrong, by a name that never changes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode { $(#[doc = $meaning] $variant,)* }

        impl ErrorCode {
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)*];

            pub const fn name(self) -> &'static str {
                match self { $(ErrorCode::$variant => $name,)* }
            }

            /// The HTTP status. `invalid_request` is 400 where the form is wrong, and 422 where a value is.
            pub const fn status(self) -> u16 {
                match self { $(ErrorCode::$variant => $status,)* }
            }

            /// The same request may succeed later.
            pub const fn retryable(self) -> bool {
                match self { $(ErrorCode::$variant => $retryable,)* }
            }

            pub const fn meaning(self) -> &'static str {
                match self { $(ErrorCode::$variant => $meaning,)* }
            }

            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(ErrorCode::$variant),)* _ => None }
            }
        }
    };
}

codes! {
    InvalidRequest "invalid_request" 400 false "a field is missing, unknown, of the wrong type or out of bounds";
    Unauthenticated "unauthenticated" 401 false "no valid token";
    MfaRequired "mfa_required" 401 false "the password was right; a second factor is needed";
    TenantRequired "tenant_required" 401 false "the password was right; the account is in several tenants";
    Forbidden "forbidden" 403 false "the role or scope does not allow it";
    OriginNotAllowed "origin_not_allowed" 403 false "the page's origin is not on the list";
    Banned "banned" 403 false "the visitor is banned";
    NotParticipant "not_participant" 403 false "only participants of the conversation may do this";
    NotFound "not_found" 404 false "it does not exist, or not for this caller";
    ThreadClosed "thread_closed" 409 false "the thread is closed and takes no more";
    AlreadyAssigned "already_assigned" 409 false "somebody else has it";
    AlreadyExists "already_exists" 409 false "another one has this name or key";
    AgentUnavailable "agent_unavailable" 409 false "the agent is offline or does not accept chats";
    OverCapacity "over_capacity" 409 false "the agent's capacity is used up";
    Conflict "conflict" 409 false "the state is not what the request assumed";
    QueueFull "queue_full" 409 true "the queue takes no more now";
    GroupOffline "group_offline" 409 true "nobody of the group is there";
    PreconditionFailed "precondition_failed" 412 false "the thing has changed since it was read";
    TooLarge "too_large" 413 false "larger than the limit";
    UnsupportedMediaType "unsupported_media_type" 415 false "this content type is not taken";
    IdempotencyMismatch "idempotency_mismatch" 422 false "the idempotency key was used with another request";
    RateLimited "rate_limited" 429 true "too many requests";
    Internal "internal" 500 true "a fault of the server";
    Unavailable "unavailable" 503 true "something it needs is away";
    Timeout "timeout" 504 true "no answer in time; it may have happened";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    /// A code of a newer neighbour reads as `internal`: its `retryable` flag still says what to do.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Ok(ErrorCode::parse(&name).unwrap_or(ErrorCode::Internal))
    }
}

/// One field of a request that was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the request.
    pub pointer: String,
    /// What was wrong and what would be right.
    pub message: String,
}

impl FieldError {
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

/// An error as clients and other services get it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[error("{code}: {message}")]
pub struct ErrorBody {
    pub code: ErrorCode,
    pub message: String,
    pub retryable: bool,
    /// Milliseconds to wait before a retry; 0 where the client decides.
    #[serde(default)]
    pub after_ms: u64,
    #[serde(default)]
    pub errors: Vec<FieldError>,
    #[serde(default)]
    pub data: serde_json::Map<String, serde_json::Value>,
}

impl ErrorBody {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retryable: code.retryable(),
            after_ms: 0,
            errors: Vec::new(),
            data: serde_json::Map::new(),
        }
    }

    /// A field was wrong.
    pub fn field(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::fields(vec![FieldError::new(pointer, message)])
    }

    /// Several fields were wrong.
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let message = match errors.first() {
            Some(first) if first.pointer.is_empty() => first.message.clone(),
            Some(first) => format!("{}: {}", first.pointer, first.message),
            None => "the request is not valid".to_owned(),
        };
        Self { errors, ..Self::new(ErrorCode::InvalidRequest, message) }
    }

    pub fn after(mut self, wait: std::time::Duration) -> Self {
        self.after_ms = u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX).max(1);
        self
    }

    pub fn with(mut self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        self.data.insert(key.to_owned(), value.into());
        self
    }
}

impl From<ErrorCode> for ErrorBody {
    fn from(code: ErrorCode) -> Self {
        Self::new(code, code.meaning())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn names_parse_back_and_are_unique() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.name()), Some(*code));
        }
        assert_eq!(ErrorCode::ALL.len(), 25);
    }

    #[test]
    fn who_is_told_to_wait_is_told_how_long_and_never_too_short() {
        let after =
            |micros| ErrorBody::from(ErrorCode::RateLimited).after(Duration::from_micros(micros)).after_ms;
        assert_eq!([0, 1, 1_000, 1_001].map(after), [1, 1, 1, 2]);
    }

    #[test]
    fn a_code_of_a_newer_neighbour_keeps_its_retry_flag() {
        let body: ErrorBody =
            serde_json::from_str(r#"{"code":"moon_phase","message":"x","retryable":true}"#).unwrap();
        assert_eq!((body.code, body.retryable), (ErrorCode::Internal, true));
    }
}
