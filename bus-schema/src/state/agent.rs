//! An agent's whole routing state, written by the router alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CommandRecord, Extra};
use crate::{AgentId, ConversationId, GroupId, IncarnationId, ThreadId, Timestamp};

/// Carried by every message of an agent's subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AgentState {
    pub agent_id: AgentId,
    /// What the agent chose; kept across reconnects and edges.
    pub status: RoutingStatus,
    /// How many conversations the agent may hold. This one counts, not the configuration's.
    pub capacity: u32,
    /// Edges that say the agent is connected.
    #[serde(default)]
    pub presence: BTreeMap<IncarnationId, Presence>,
    /// Conversations held, oldest assignment first. Their number is the agent's load.
    #[serde(default)]
    pub conversations: Vec<Held>,
    pub last_assigned_at: Option<Timestamp>,
    /// Since when no edge has a connection of the agent. Absent while one has, and for an agent who never had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offline_since: Option<Timestamp>,
    /// When the agent last left an edge, of an agent who is connected to another as far as is known. Should that turn out
    /// to have ended with the other edge's lease, the agent was here until then all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_at: Option<Timestamp>,
    /// How often in a row the agent let a visitor wait too long.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub misses: u32,
    /// The agent was removed from the configuration.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    #[serde(default)]
    pub commands: Vec<CommandRecord>,
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub extra: Extra,
}

impl AgentState {
    pub fn load(&self) -> u32 {
        u32::try_from(self.conversations.len()).unwrap_or(u32::MAX)
    }

    pub fn has_room(&self) -> bool {
        self.load() < self.capacity
    }

    /// How many of a group's threads it holds.
    pub fn held_in(&self, group: GroupId) -> u32 {
        let held = self.conversations.iter().filter(|held| held.group_id == Some(group)).count();
        u32::try_from(held).unwrap_or(u32::MAX)
    }

    pub fn is_connected(&self) -> bool {
        self.presence.values().any(|presence| presence.connections > 0)
    }

    /// What others see.
    pub fn seen_status(&self) -> AgentStatus {
        match (self.is_connected(), self.status) {
            (false, _) => AgentStatus::Offline,
            (true, RoutingStatus::Accepting) => AgentStatus::Accepting,
            (true, RoutingStatus::NotAccepting) => AgentStatus::NotAccepting,
        }
    }

    pub fn holds(&self, conversation: ConversationId) -> bool {
        self.conversations.iter().any(|held| held.conversation_id == conversation)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What an agent chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RoutingStatus {
    Accepting,
    #[default]
    NotAccepting,
}

/// What others see: the choice, or `offline` without a live connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AgentStatus {
    Accepting,
    NotAccepting,
    Offline,
}

/// One edge's word on an agent: `rev` grows with each change, an old one is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Presence {
    pub rev: u64,
    pub connections: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Held {
    pub conversation_id: ConversationId,
    pub thread_id: ThreadId,
    /// For which group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<GroupId>,
    pub since: Timestamp,
    /// A person gave it to the agent who was away: it is theirs until they have come and gone again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given_away: bool,
}
