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
    /// None: the system, which older versions cannot read. They know no condition, and leave it to whoever does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<AgentId>,
    pub asked_at: Timestamp,
    /// Nobody asked for it: the tenant forgets whoever stays away for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lapsed: Option<Lapsed>,
}

/// The condition under which a visitor is forgotten whom nobody asked to forget: who writes meanwhile came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lapsed {
    /// Where the visitor's record is.
    pub record_seq: u64,
    /// The conversation's last `life` message; 0: none was begun.
    pub life_seq: u64,
    /// All that is known of them is from before this. Tokens that are younger go on.
    pub before: Timestamp,
}

impl Erasure {
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings, numbers and ids always encode")
    }

    pub fn decode(value: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(value)
    }
}
