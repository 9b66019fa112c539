//! An erasure that is under way: who is forgotten, and on whose word.

use serde::{Deserialize, Serialize};

use crate::{AgentId, Shard, Timestamp, VisitorId};

/// In the bucket `erasures` by `<tenant>.<visitor>` from the request until nothing is left to remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// Where the tenant's log is.
    pub shard: Shard,
    pub visitor_id: VisitorId,
    /// What whoever asked for it was given; the event says it too.
    pub receipt: String,
    pub by: AgentId,
    pub asked_at: Timestamp,
}

impl Erasure {
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings, numbers and ids always encode")
    }

    pub fn decode(value: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(value)
    }
}
