//! Opening and keeping a session.

use serde::{Deserialize, Serialize};

use super::view::{Conv, Person, Profile};
use crate::{ConversationId, SessionId, Timestamp, limits::Limits, state::RoutingStatus};

/// Push `hello`: the first thing on a connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    pub protocol: u32,
    pub edge_id: String,
    pub server_time: Timestamp,
    pub ping_interval_ms: u64,
    pub limits: Limits,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub token: String,
    pub protocol: u32,
    pub client: ClientInfo,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resume: Vec<Resume>,
    /// Agents: the status to set at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<RoutingStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientInfo {
    pub name: String,
    pub version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    pub conversation_id: ConversationId,
    pub cursor: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoginAnswer {
    pub profile: Profile,
    /// The login session for staff; the visitor's own id for visitors, who have none.
    pub session_id: SessionId,
    pub token_expires_at: Timestamp,
    pub conversations: Vec<Conv>,
    pub people: Vec<Person>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshToken {
    pub token: String,
}

/// Answer to `refresh_token`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    pub token_expires_at: Timestamp,
}

/// The payload of requests that have none: `ping`, `logout`, `list_agents`, `list_visitors`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Answer of what has nothing to tell but that it is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {}
