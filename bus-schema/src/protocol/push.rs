//! What the server says unasked.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::view::{AgentView, Conv, ConversationView, Person, VisitorPresence};
use crate::{Author, ConversationId, GroupId, Timestamp, command::View};

/// Push `event`. `event` holds the spliced bytes as they are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventPush {
    pub conversation_id: ConversationId,
    pub event: Box<RawValue>,
    pub cursor: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<Person>,
}

/// Push `caught_up`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaughtUp {
    pub conversation_id: ConversationId,
    pub cursor: String,
}

/// Push `reset`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reset {
    pub conversation_id: ConversationId,
    pub reason: ResetReason,
    pub conversation: Conv,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<Person>,
}

/// Why a cursor could not be honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetReason {
    /// Not a cursor, or not one that an edge made.
    Mangled,
    /// Of another life of the log.
    Epoch,
    /// Another person's, or another set of lanes.
    Principal,
    /// Older than what the log keeps.
    TooOld,
    /// Beyond the end of the log.
    Ahead,
    /// More was missed than is worth replaying.
    TooMuch,
}

/// Pushes `conversation_available`, `conversation_updated`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConversationAvailable {
    pub view: View,
    pub conversation: Conv,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<Person>,
}

/// Push `conversation_removed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConversationRemoved {
    pub view: View,
    pub conversation_id: ConversationId,
}

/// Pushes `conversation_available`, `conversation_updated` of a view that is followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewChanged {
    pub view: View,
    /// As it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<GroupId>,
    pub conversation: ConversationView,
}

/// Push `conversation_removed` of a view that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewRemoved {
    pub view: View,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<GroupId>,
    pub conversation_id: ConversationId,
}

/// Push `closing`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    pub reason: String,
    pub reconnect: bool,
    pub after_ms: u64,
}

/// Push `token_expiring`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenExpiring {
    pub expires_at: Timestamp,
}

/// Push `signal`: typing or a preview, never stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalPush {
    pub conversation_id: ConversationId,
    pub author: Author,
    pub kind: SignalKind,
    /// Typing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<bool>,
    /// A preview.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// It counts for this long, unless repeated or ended by the author's message.
    pub expires_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalKind {
    Typing,
    Preview,
}

/// Push `queue_position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuePosition {
    pub conversation_id: ConversationId,
    /// 1 is next.
    pub position: u32,
    /// Expected seconds until an agent has it; absent where there is nothing to go by.
    pub wait_s: Option<u64>,
}

/// Push `presence`: what changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents: Option<Vec<AgentView>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visitors: Option<Vec<VisitorPresence>>,
}

/// Push `group_status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatusPush {
    pub group_id: GroupId,
    pub status: GroupStatus,
}

/// Whether a visitor who writes to a group is answered soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum GroupStatus {
    /// Somebody accepts and has room.
    Online,
    /// Somebody is there, and nobody has room.
    Queue,
    /// Nobody is there.
    Offline,
}

/// Push `person`: somebody whom the connection has met changed their name or picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonPush {
    pub person: Person,
}

/// Push `config_changed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigChanged {
    /// The kind of record: `agent`, `group`, `widget` …
    pub entity: String,
    pub id: uuid::Uuid,
    pub op: ConfigOp,
    pub revision: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigOp {
    /// Made or changed.
    Put,
    Deleted,
}
