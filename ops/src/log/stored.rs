//! A message of the log, however it was read.
//!
//! Invariant: `subject` is the stored one (`chat.v1.…`), and `at` the time the server stored it, whichever way
//! the message came.

use async_nats::{
    HeaderMap, Message,
    header::{
        HeaderName, IntoHeaderName, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID, NATS_SEQUENCE,
        NATS_SUBJECT, NATS_TIME_STAMP,
    },
};
use bus_schema::Timestamp;
use bytes::Bytes;

use super::write::EXPECTED_SUBJECT;

/// A stored message.
#[derive(Debug, Clone)]
pub struct StoredMsg {
    pub subject: String,
    pub seq: u64,
    pub at: Timestamp,
    /// What the writer gave, and what the server adds for the way it came.
    pub headers: HeaderMap,
    pub payload: Bytes,
}

impl StoredMsg {
    /// The sequence of the subject that fenced this write, where another subject did.
    pub fn fence(&self) -> Option<u64> {
        self.headers.get(EXPECTED_SUBJECT)?;
        number(&self.headers, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE)
    }

    pub fn msg_id(&self) -> Option<&str> {
        self.headers.get(NATS_MESSAGE_ID).map(|id| id.as_str())
    }

    /// The headers that the writer gave: what is kept in an archive.
    pub fn written_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let added = [NATS_SUBJECT, NATS_SEQUENCE, NATS_TIME_STAMP].map(|name: HeaderName| name.to_string());
        self.headers.iter().filter_map(move |(name, values)| {
            let name: &str = name.as_ref();
            let by_server = added.iter().any(|n| n == name) || ADDED.contains(&name);
            values.first().filter(|_| !by_server).map(|value| (name, value.as_str()))
        })
    }

    /// Reads an answer to a direct get.
    pub(super) fn from_direct(message: Message) -> Option<Self> {
        let headers = message.headers?;
        Some(Self {
            subject: headers.get(NATS_SUBJECT)?.as_str().to_owned(),
            seq: number(&headers, NATS_SEQUENCE)?,
            at: Timestamp::parse(headers.get(NATS_TIME_STAMP)?.as_str()).ok()?,
            headers,
            payload: message.payload,
        })
    }
}

/// Headers that the server adds on the way.
const ADDED: [&str; 4] = ["Nats-Stream", "Nats-Last-Sequence", "Nats-Num-Pending", "Nats-UpTo-Sequence"];

/// A header's value as a number.
pub(super) fn number(headers: &HeaderMap, name: impl IntoHeaderName) -> Option<u64> {
    headers.get(name)?.as_str().parse().ok()
}
