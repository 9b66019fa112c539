//! What the server answers to a write.
//!
//! Invariant: errors are told apart by number alone; their texts change between versions.

use bus_schema::refusal::Refusal;
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

pub(crate) fn parse(payload: &[u8]) -> Result<Stored, WriteError> {
    let ack: Ack<'_> = serde_json::from_slice(payload).map_err(|_| WriteError::Unknown)?;
    match ack.error {
        Some(error) => Err(refused(&error)),
        None if ack.seq == 0 => Err(WriteError::Unknown),
        None => Ok(Stored { seq: ack.seq, duplicate: ack.duplicate }),
    }
}

fn refused(error: &ApiError<'_>) -> WriteError {
    match Refusal::of(error.err_code) {
        Refusal::Mismatch => WriteError::Mismatch,
        Refusal::InFlight => WriteError::InFlight,
        Refusal::DuplicateInFlight => WriteError::DuplicateInFlight,
        Refusal::Full => WriteError::Full,
        Refusal::Unknown => WriteError::Unknown,
        Refusal::Other => {
            WriteError::Refused { code: error.err_code, text: error.description.as_ref().into() }
        }
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
