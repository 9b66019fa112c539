//! What everyone in a conversation may know of its open or last thread.

use serde::{Deserialize, Serialize};

use super::Extra;
use crate::{AgentId, GroupId, ThreadId, Timestamp, VisitorId, WidgetId};

/// The life of a thread: `queued` → `active` → `closed`, which never changes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ThreadStatus {
    Queued,
    Active,
    Closed,
}

impl ThreadStatus {
    pub const fn is_open(self) -> bool {
        matches!(self, ThreadStatus::Queued | ThreadStatus::Active)
    }

    pub const fn name(self) -> &'static str {
        match self {
            ThreadStatus::Queued => "queued",
            ThreadStatus::Active => "active",
            ThreadStatus::Closed => "closed",
        }
    }
}

/// Carried by every message of `all.life`: the conversation's visible state after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LifeState {
    pub thread_id: ThreadId,
    pub status: ThreadStatus,
    pub group_id: Option<GroupId>,
    pub assignee_id: Option<AgentId>,
    #[serde(default)]
    pub participants: Vec<AgentId>,
    /// When the thread began: the bus's time of its `started` message (in that message itself, the writer's clock).
    pub started_at: Timestamp,
    /// Sequence of the thread's `started` message, so that a reader need not look further back. Absent in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_seq: Option<u64>,
    pub visitor_id: VisitorId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub widget_id: Option<WidgetId>,
    /// The thread before this one, if the conversation had any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_thread_id: Option<ThreadId>,
    /// It goes on where that one was closed with `reassigned`: what was meant for that one is meant for this.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continues: bool,
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub extra: Extra,
}

/// Why a thread was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    Resolved,
    ClosedByVisitor,
    ClosedByAgent,
    Idle,
    VisitorGone,
    QueueTimeout,
    QueueFull,
    GroupOffline,
    Reassigned,
    AgentDeleted,
    VisitorBanned,
    Identified,
    Erased,
    /// A reason of a newer neighbour.
    #[serde(other)]
    Unknown,
}

/// What made a thread start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StartSource {
    Widget,
    Api,
    Reopened,
    Reassigned,
    #[serde(other)]
    Unknown,
}
