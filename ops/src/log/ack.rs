//! What the server answers to a write.
//!
//! Invariant: errors are told apart by number alone; their texts change between versions.

use serde::Deserialize;

use super::write::{Stored, WriteError};

/// An answer, borrowed from its bytes.
#[derive(Debug, Deserialize)]
struct Ack<'a> {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    #[serde(borrow)]
    error: Option<ApiError<'a>>,
}

/// The server's error, in answers of all kinds.
#[derive(Debug, Deserialize)]
pub(super) struct ApiError<'a> {
    #[serde(default)]
    pub(super) err_code: u64,
    #[serde(borrow, default)]
    pub(super) description: std::borrow::Cow<'a, str>,
}

const WRONG_LAST_SEQUENCE: u64 = 10071;
/// On a cluster: another write with this expectation subject is in flight.
const EXPECTATION_IN_FLIGHT: u64 = 10164;
const MSG_ID_IN_FLIGHT: u64 = 10158;
const STREAM_LIMIT: u64 = 10077;
/// The whole server is out of room, or the account is.
const RESOURCES: [u64; 3] = [10023, 10047, 10028];
/// Nothing of a batch is stored: part of it was lost on the way, or too many are under way.
const BATCH_INCOMPLETE: u64 = 10176;
const BATCH_TOO_MANY: [u64; 2] = [10210, 10211];
/// The stream has no leader at the moment.
const CLUSTER_NOT_AVAILABLE: u64 = 10008;

pub(crate) fn parse(payload: &[u8]) -> Result<Stored, WriteError> {
    let ack: Ack<'_> = serde_json::from_slice(payload).map_err(|_| WriteError::Unknown)?;
    match ack.error {
        Some(error) => Err(refused(&error)),
        None if ack.seq == 0 => Err(WriteError::Unknown),
        None => Ok(Stored { seq: ack.seq, duplicate: ack.duplicate }),
    }
}

fn refused(error: &ApiError<'_>) -> WriteError {
    match error.err_code {
        WRONG_LAST_SEQUENCE => WriteError::Mismatch,
        EXPECTATION_IN_FLIGHT => WriteError::InFlight,
        MSG_ID_IN_FLIGHT => WriteError::DuplicateInFlight,
        STREAM_LIMIT => WriteError::Full,
        code if RESOURCES.contains(&code) => WriteError::Full,
        // Nothing is stored, and the same again may well be.
        BATCH_INCOMPLETE => WriteError::InFlight,
        code if BATCH_TOO_MANY.contains(&code) => WriteError::InFlight,
        CLUSTER_NOT_AVAILABLE => WriteError::Unknown,
        code => WriteError::Refused { code, text: error.description.as_ref().into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood_by_number() {
        let stored = parse(br#"{"stream":"CHAT_0","seq":7,"duplicate":true}"#);
        assert_eq!(stored, Ok(Stored { seq: 7, duplicate: true }));
        let error = |code: u64| {
            parse(
                format!(r#"{{"error":{{"code":400,"err_code":{code},"description":"x"}},"seq":0}}"#)
                    .as_bytes(),
            )
            .unwrap_err()
        };
        assert_eq!(error(10071), WriteError::Mismatch);
        assert_eq!(error(10164), WriteError::InFlight);
        assert_eq!(error(10158), WriteError::DuplicateInFlight);
        assert_eq!(error(10077), WriteError::Full);
        assert_eq!(error(10999), WriteError::Refused { code: 10999, text: "x".into() });
        assert_eq!(parse(b"nonsense"), Err(WriteError::Unknown));
        assert_eq!(parse(b"{}"), Err(WriteError::Unknown), "an answer without a sequence proves nothing");
    }
}
