//! What each kind of event says. Field names and meanings are contract §2.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    AgentId, AttachmentId, EventId, GroupId, TagId, ThreadId, Timestamp, WidgetId,
    state::{
        AgentState, CloseReason, Decision, DeskState, LifeState, Page, Priority, QueueReason, StartSource,
        VisitorRecord,
    },
};

macro_rules! data {
    ($($(#[$doc:meta])* $name:ident { $($(#[$meta:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub struct $name { $($(#[$meta])* pub $field: $type,)* }
    )*};
}

data! {
    Message {
        text: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        quick_replies: Vec<QuickReply>,
    }
    QuickReply { label: String, value: String, }
    RichMessage {
        template: String,
        #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::openapi::Element>))]
        elements: Vec<Value>,
    }
    File {
        attachment_id: AttachmentId,
        name: String,
        content_type: String,
        size: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        width: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        height: Option<u32>,
    }
    Form {
        template_id: String,
        #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::openapi::FormField>))]
        fields: Vec<Value>,
    }
    FormFilled {
        form_event_id: EventId,
        #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, crate::openapi::FormValue>))]
        values: BTreeMap<String, Value>,
    }
    MessageEdited { target_id: EventId, text: String, }
    MessageDeleted {
        target_id: EventId,
        /// Remove the bytes as well.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        purge: bool,
    }
    Rated {
        /// 1 to 5.
        #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 5))]
        score: u8,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<String>,
    }
    TranscriptRequested { email: String, }
    Tagged { tag_id: TagId, }
    Untagged { tag_id: TagId, }

    Started { group_id: Option<GroupId>, widget_id: Option<WidgetId>, source: StartSource, state: LifeState, }
    Queued { group_id: Option<GroupId>, reason: QueueReason, state: LifeState, }
    Assigned { agent_id: AgentId, group_id: Option<GroupId>, state: LifeState, }
    Transferred { from: Place, to: Place, state: LifeState, }
    Joined { agent_id: AgentId, state: LifeState, }
    Left { agent_id: AgentId, state: LifeState, }
    AgentLost { agent_id: AgentId, reason: AgentLostReason, state: LifeState, }
    Idle { since: Timestamp, state: LifeState, }
    Closed { by: crate::Author, reason: CloseReason, state: LifeState, }
    Reopened { previous_thread_id: ThreadId, by: crate::Author, state: LifeState, }

    Decided { decision: Decision, state: DeskState, }
    Offered { agent_ids: Vec<AgentId>, expires_at: Timestamp, state: DeskState, }
    Declined { agent_id: AgentId, state: DeskState, }
    Unanswered { agent_id: AgentId, state: DeskState, }
    PrioritySet { priority: Priority, state: DeskState, }
    SkillsSet { skills: Vec<String>, state: DeskState, }
    SkillsWaived { state: DeskState, }

    Delivered { up_to_seq: u64, }
    Read { up_to_seq: u64, }

    VisitorSeen {
        widget_id: Option<WidgetId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        external_id: Option<String>,
        verified: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page: Option<Page>,
        record: VisitorRecord,
    }
    VisitorUpdated {
        name: Option<String>,
        email: Option<String>,
        custom: BTreeMap<String, String>,
        record: VisitorRecord,
    }
    VisitorBanned { until: Option<Timestamp>, by: AgentId, record: VisitorRecord, }
    VisitorUnbanned { record: VisitorRecord, }
    VisitorErased { receipt: String, record: VisitorRecord, }

    AgentConnected { state: AgentState, }
    AgentDisconnected { state: AgentState, }
    AgentStatusSet { state: AgentState, }
    AgentCapacitySet { state: AgentState, }
    AgentLoad { state: AgentState, }
}

/// An agent, a group, or both: where a thread was or goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Place {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<GroupId>,
}

/// Why a thread lost its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AgentLostReason {
    /// No live connection for longer than the grace time.
    Disconnected,
    Unanswered,
    Deleted,
    #[serde(other)]
    Unknown,
}

impl super::Body {
    /// The conversation's visible state after it, for kinds of `all.life`.
    pub fn life_state(&self) -> Option<&LifeState> {
        use super::Body::*;
        match self {
            Started(d) => Some(&d.state),
            Queued(d) => Some(&d.state),
            Assigned(d) => Some(&d.state),
            Transferred(d) => Some(&d.state),
            Joined(d) => Some(&d.state),
            Left(d) => Some(&d.state),
            AgentLost(d) => Some(&d.state),
            Idle(d) => Some(&d.state),
            Closed(d) => Some(&d.state),
            Reopened(d) => Some(&d.state),
            _ => None,
        }
    }

    /// The routing state after it, for kinds of `staff.desk`.
    pub fn desk_state(&self) -> Option<&DeskState> {
        use super::Body::*;
        match self {
            Decided(d) => Some(&d.state),
            Offered(d) => Some(&d.state),
            Declined(d) => Some(&d.state),
            Unanswered(d) => Some(&d.state),
            PrioritySet(d) => Some(&d.state),
            SkillsSet(d) => Some(&d.state),
            SkillsWaived(d) => Some(&d.state),
            _ => None,
        }
    }

    /// The agent's routing state after it, for kinds of an agent's subject.
    pub fn agent_state(&self) -> Option<&AgentState> {
        use super::Body::*;
        match self {
            AgentConnected(d) => Some(&d.state),
            AgentDisconnected(d) => Some(&d.state),
            AgentStatusSet(d) => Some(&d.state),
            AgentCapacitySet(d) => Some(&d.state),
            AgentLoad(d) => Some(&d.state),
            _ => None,
        }
    }

    /// The visitor's record after it, for kinds of a visitor's subject.
    pub fn visitor_record(&self) -> Option<&VisitorRecord> {
        use super::Body::*;
        match self {
            VisitorSeen(d) => Some(&d.record),
            VisitorUpdated(d) => Some(&d.record),
            VisitorBanned(d) => Some(&d.record),
            VisitorUnbanned(d) => Some(&d.record),
            VisitorErased(d) => Some(&d.record),
            _ => None,
        }
    }
}
