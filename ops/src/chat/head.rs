//! The few fields of an event that readers act on, borrowed from its bytes.

use std::borrow::Cow;

use bus_schema::{Author, EventId, ThreadId, event::Kind};
use serde::Deserialize;
use serde_json::value::RawValue;

/// An event without its whole data decoded.
#[derive(Debug, Deserialize)]
pub struct Head<'a> {
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    pub id: EventId,
    #[serde(default)]
    pub thread_id: Option<ThreadId>,
    pub author: Author,
    #[serde(borrow)]
    pub data: &'a RawValue,
}

impl<'a> Head<'a> {
    pub fn decode(stored: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(stored)
    }

    /// The kind, unless a newer neighbour's.
    pub fn kind(&self) -> Option<Kind> {
        Kind::parse(&self.kind)
    }
}
