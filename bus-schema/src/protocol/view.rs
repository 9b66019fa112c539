//! Shapes that clients see over socket and HTTP alike.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::{
    AgentId, Author, AuthorType, ConversationId, GroupId, TagId, ThreadId, Timestamp, VisitorId,
    claims::Role,
    state::{AgentStatus, CloseReason, Page, Priority, ThreadStatus},
};

/// A conversation with its latest events: answers to `login`, `reset`, `conversation_available`, and HTTP.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Conv {
    pub id: ConversationId,
    pub visitor: VisitorView,
    /// The open thread, or the last one.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub thread: Option<ThreadView>,
    /// At most 50, oldest first. Absent when missed events follow as pushes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Vec<crate::openapi::Event>>, nullable = false))]
    pub events: Option<Vec<Box<RawValue>>>,
    pub has_more: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub cursor: Option<String>,
    pub unread: u64,
    pub marks: Vec<MarkView>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VisitorView {
    pub id: VisitorId,
    #[cfg_attr(feature = "openapi", schema(required))]
    pub name: Option<String>,
    /// Staff and the visitor alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub custom: Option<BTreeMap<String, String>>,
    pub online: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ThreadView {
    pub id: ThreadId,
    pub status: ThreadStatus,
    #[cfg_attr(feature = "openapi", schema(required))]
    pub group_id: Option<GroupId>,
    #[cfg_attr(feature = "openapi", schema(required))]
    pub assignee_id: Option<AgentId>,
    pub started_at: Timestamp,
    #[cfg_attr(feature = "openapi", schema(required))]
    pub queue: Option<QueueView>,
    /// Staff alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub tags: Option<Vec<TagId>>,
}

/// A place in a queue: 1 is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueueView {
    pub position: u32,
    /// Expected seconds until an agent has it; absent where there is nothing to go by.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub wait_s: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MarkView {
    pub author: Author,
    pub delivered: u64,
    pub read: u64,
}

/// An open thread in a list, from the router's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = OpenConversation))]
pub struct ConversationView {
    pub id: ConversationId,
    pub visitor_id: VisitorId,
    pub thread: ThreadView,
    pub priority: Priority,
    pub participants: Vec<AgentId>,
    /// Agents to whom it is offered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offered_to: Vec<AgentId>,
}

/// An agent in lists and presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = AgentPresence))]
pub struct AgentView {
    pub id: AgentId,
    pub status: AgentStatus,
    pub load: u32,
    pub capacity: u32,
}

/// A visitor in lists and presence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VisitorPresence {
    pub id: VisitorId,
    /// The visitor's conversation, whether or not it has begun.
    pub conversation_id: ConversationId,
    pub online: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<Page>,
    /// Of the open thread, if there is one: whose business the visitor is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<GroupId>,
}

/// A thread, open or over, in a conversation's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadSummary {
    pub id: ThreadId,
    pub status: ThreadStatus,
    pub group_id: Option<GroupId>,
    /// Who has it, or had it last.
    pub assignee_id: Option<AgentId>,
    pub started_at: Timestamp,
    pub started_seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_reason: Option<CloseReason>,
}

/// An author whom the connection has not met yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    #[serde(rename = "type")]
    pub kind: AuthorType,
    pub id: Uuid,
    pub name: Option<String>,
    pub avatar_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_title: Option<String>,
}

/// Who the caller is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    #[serde(rename = "type")]
    pub kind: AuthorType,
    pub id: Uuid,
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<AgentStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_ids: Option<Vec<GroupId>>,
}

/// Body of `POST /v1/widget/session`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct WidgetSession {
    pub widget_key: String,
    /// 32 random bytes in base64url, made once by the widget and kept.
    pub visitor_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_client_id: Option<crate::ClientId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<GroupId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WidgetSessionAnswer {
    pub visitor: VisitorView,
    pub token: String,
    pub token_expires_at: Timestamp,
    #[cfg_attr(feature = "openapi", schema(required))]
    pub conversation: Option<Conv>,
    pub ws_url: String,
}
