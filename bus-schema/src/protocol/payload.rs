//! Payloads of requests and their answers.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::view::{Conv, Person, Profile};
use crate::{
    AgentId, ClientId, ConversationId, EventId, GroupId, SessionId, ThreadId, Timestamp, Visibility,
    command::View, limits::Limits, state::RoutingStatus,
};

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

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartThread {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<GroupId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_event: Option<SendBody>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visitor: Option<UpdateVisitor>,
}

/// An event as a client sends it. `data` is decoded by its kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendBody {
    pub kind: String,
    pub client_id: ClientId,
    #[serde(default)]
    pub visibility: Visibility,
    pub data: Box<RawValue>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendEvent {
    pub conversation_id: ConversationId,
    /// The thread the client means; absent: the one last delivered to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<ThreadId>,
    pub event: SendBody,
    /// The client sent this before and had no answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retry: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendAnswer {
    pub event_id: EventId,
    pub seq: u64,
    pub duplicate: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    pub conversation_id: ConversationId,
    pub up_to_seq: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateVisitor {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListEvents {
    pub conversation_id: ConversationId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventPage {
    pub events: Vec<Box<RawValue>>,
    pub has_more: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseThread {
    pub conversation_id: ConversationId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<ThreadId>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetStatus {
    pub status: RoutingStatus,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListConversations {
    pub view: View,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<GroupId>,
    #[serde(default)]
    pub subscribe: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// `take`, `decline`, `join`, `leave`, `watch`, `unwatch`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConversationRef {
    pub conversation_id: ConversationId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<ThreadId>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assign {
    pub conversation_id: ConversationId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<ThreadId>,
    pub agent_id: AgentId,
}

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
