//! What is said in a conversation: events, marks, signals, ratings.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{AttachmentId, ClientId, ConversationId, EventId, ThreadId, Timestamp, Visibility, event::File};

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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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

/// `typing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Typing {
    pub conversation_id: ConversationId,
    pub on: bool,
}

/// `preview`: what the visitor has typed and not yet sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preview {
    pub conversation_id: ConversationId,
    pub text: String,
}

/// `rate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    pub conversation_id: ConversationId,
    /// The thread to rate; absent: the open one, else the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<ThreadId>,
    /// 1 to 5.
    pub score: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// The same over HTTP, where the path names the conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RateBody {
    /// 1 to 5.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 5))]
    pub score: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<ThreadId>,
}

/// Answer to an upload over HTTP: what a `file` is sent with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Uploaded {
    #[serde(flatten)]
    pub file: File,
    /// Unless it was sent by then it is removed.
    pub expires_at: Timestamp,
}

/// `get_attachment`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetAttachment {
    pub attachment_id: AttachmentId,
}

/// Answer to `get_attachment`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentLink {
    /// Signed; the one secret allowed in a URL.
    pub url: String,
    pub expires_at: Timestamp,
}
