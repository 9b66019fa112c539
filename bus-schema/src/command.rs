//! Requests on the bus to the router, and their single outcome.
//!
//! Each names its thread where it is about one (absent: the open one) and carries a `command_id`; the last few are
//! remembered with their outcomes in the state they changed, so that a repeat after fail-over answers the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    AgentId, Author, CommandId, ConversationId, ErrorBody, GroupId, IncarnationId, ThreadId, Timestamp,
    VisitorId, WidgetId,
    claims::Role,
    protocol::{AgentView, ConversationView, GroupStatus, QueueView},
    state::{CloseReason, Decision, Priority, QueueReason, RoutingStatus},
};

/// One request to the router of a tenant (subject [`crate::subject::commands`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandRequest {
    pub command_id: CommandId,
    pub actor: Actor,
    /// Nobody waits for the outcome after this: a router that comes to it later refuses it and changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    pub command: Command,
}

/// On whose behalf. The sender has checked the token; the router checks what the role may do to this thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    pub author: Author,
    /// Absent for visitors and the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

impl Actor {
    pub const SYSTEM: Self = Self { author: Author::SYSTEM, role: None };

    pub const fn visitor(id: VisitorId) -> Self {
        Self { author: Author::visitor(id), role: None }
    }

    pub const fn agent(id: AgentId, role: Role) -> Self {
        Self { author: Author::agent(id), role: Some(role) }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", content = "args", rename_all = "snake_case")]
pub enum Command {
    /// May a thread start here now? Changes nothing; answered with [`Answer::Admitted`].
    Admit {
        conversation_id: ConversationId,
        group_id: Option<GroupId>,
        widget_id: Option<WidgetId>,
    },
    /// An edge's word on its agents. Answered once what it changes is stored.
    Presence {
        incarnation: IncarnationId,
        agents: Vec<PresenceReport>,
    },
    /// What an edge believes it has reported; answered with [`Answer::PresenceDiffers`].
    PresenceDigest {
        incarnation: IncarnationId,
        agents: Vec<PresenceReport>,
    },
    SetStatus {
        agent_id: AgentId,
        status: RoutingStatus,
    },
    Take {
        conversation_id: ConversationId,
        thread_id: Option<ThreadId>,
    },
    Decline {
        conversation_id: ConversationId,
        thread_id: Option<ThreadId>,
    },
    Assign {
        conversation_id: ConversationId,
        thread_id: Option<ThreadId>,
        agent_id: AgentId,
    },
    Transfer {
        conversation_id: ConversationId,
        thread_id: Option<ThreadId>,
        agent_id: Option<AgentId>,
        group_id: Option<GroupId>,
        /// Wait if nobody can take it now: in the group's queue, or, where an agent is named, in that of the thread's own.
        queue: bool,
    },
    Join {
        conversation_id: ConversationId,
        thread_id: Option<ThreadId>,
    },
    Leave {
        conversation_id: ConversationId,
        thread_id: Option<ThreadId>,
    },
    Close {
        conversation_id: ConversationId,
        thread_id: Option<ThreadId>,
        reason: CloseReason,
    },
    Reopen {
        conversation_id: ConversationId,
        /// The closed thread that the new one follows.
        thread_id: Option<ThreadId>,
    },
    SetPriority {
        conversation_id: ConversationId,
        thread_id: Option<ThreadId>,
        priority: Priority,
    },
    SetSkills {
        conversation_id: ConversationId,
        thread_id: Option<ThreadId>,
        skills: Vec<String>,
    },
    /// Open threads from memory; answered with [`Answer::Conversations`].
    ListConversations {
        view: View,
        group_id: Option<GroupId>,
        limit: u32,
        cursor: Option<String>,
    },
    /// Answered with [`Answer::Conversations`] of at most one: the thread's place, for snapshots.
    GetConversation {
        conversation_id: ConversationId,
    },
    /// Why the open thread still waits; answered with [`Answer::Explained`].
    Explain {
        conversation_id: ConversationId,
    },
    /// Answered with [`Answer::Agents`].
    ListAgents,
    /// Answered with [`Answer::Groups`].
    ListGroups,
}

impl Command {
    /// The conversation whose thread it is about, and that thread where it names one.
    pub const fn thread(&self) -> Option<(ConversationId, Option<ThreadId>)> {
        match self {
            Command::Take { conversation_id, thread_id }
            | Command::Decline { conversation_id, thread_id }
            | Command::Assign { conversation_id, thread_id, .. }
            | Command::Transfer { conversation_id, thread_id, .. }
            | Command::Join { conversation_id, thread_id }
            | Command::Leave { conversation_id, thread_id }
            | Command::Close { conversation_id, thread_id, .. }
            | Command::Reopen { conversation_id, thread_id }
            | Command::SetPriority { conversation_id, thread_id, .. }
            | Command::SetSkills { conversation_id, thread_id, .. } => Some((*conversation_id, *thread_id)),
            Command::Admit { .. }
            | Command::Presence { .. }
            | Command::PresenceDigest { .. }
            | Command::SetStatus { .. }
            | Command::ListConversations { .. }
            | Command::GetConversation { .. }
            | Command::Explain { .. }
            | Command::ListAgents
            | Command::ListGroups => None,
        }
    }

    /// Names the thread that it is about, where it is about one.
    pub const fn name_thread(&mut self, thread: ThreadId) {
        match self {
            Command::Take { thread_id, .. }
            | Command::Decline { thread_id, .. }
            | Command::Assign { thread_id, .. }
            | Command::Transfer { thread_id, .. }
            | Command::Join { thread_id, .. }
            | Command::Leave { thread_id, .. }
            | Command::Close { thread_id, .. }
            | Command::Reopen { thread_id, .. }
            | Command::SetPriority { thread_id, .. }
            | Command::SetSkills { thread_id, .. } => *thread_id = Some(thread),
            _ => {}
        }
    }

    /// The label of metrics and logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Command::Admit { .. } => "admit",
            Command::Presence { .. } => "presence",
            Command::PresenceDigest { .. } => "presence_digest",
            Command::SetStatus { .. } => "set_status",
            Command::Take { .. } => "take",
            Command::Decline { .. } => "decline",
            Command::Assign { .. } => "assign",
            Command::Transfer { .. } => "transfer",
            Command::Join { .. } => "join",
            Command::Leave { .. } => "leave",
            Command::Close { .. } => "close",
            Command::Reopen { .. } => "reopen",
            Command::SetPriority { .. } => "set_priority",
            Command::SetSkills { .. } => "set_skills",
            Command::ListConversations { .. } => "list_conversations",
            Command::GetConversation { .. } => "get_conversation",
            Command::Explain { .. } => "explain",
            Command::ListAgents => "list_agents",
            Command::ListGroups => "list_groups",
        }
    }
}

/// How many connections an agent has at an edge; `rev` grows with each change at that edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceReport {
    pub agent_id: AgentId,
    pub rev: u64,
    pub connections: u32,
}

/// Which open threads a list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    Mine,
    Queue,
    Group,
    All,
}

/// The one outcome of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Accepted { answer: Answer },
    Rejected { error: ErrorBody },
}

impl Outcome {
    pub const DONE: Self = Self::Accepted { answer: Answer::Done };

    pub fn into_result(self) -> Result<Answer, ErrorBody> {
        match self {
            Outcome::Accepted { answer } => Ok(answer),
            Outcome::Rejected { error } => Err(error),
        }
    }
}

impl From<ErrorBody> for Outcome {
    fn from(error: ErrorBody) -> Self {
        Outcome::Rejected { error }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Answer {
    /// It is done, and stored.
    Done,
    /// A thread of the conversation changed hands or status.
    Thread {
        thread_id: ThreadId,
        assignee_id: Option<AgentId>,
        seq: u64,
    },
    Admitted {
        group_id: Option<GroupId>,
    },
    PresenceDiffers {
        agents: Vec<AgentId>,
    },
    Conversations {
        conversations: Vec<ConversationView>,
        next_cursor: Option<String>,
        total: u64,
        at: Timestamp,
    },
    /// Why a thread waits, as it is now; none: it does not.
    Explained {
        waits: Option<Box<Waits>>,
    },
    Agents {
        agents: Vec<AgentView>,
    },
    /// Every group that exists.
    Groups {
        groups: BTreeMap<GroupId, GroupStatus>,
    },
}

/// Where a thread waits, and everybody who could have it, with what is in the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Waits {
    pub thread_id: ThreadId,
    pub place: QueueView,
    pub reason: QueueReason,
    /// What would be decided now.
    pub decision: Decision,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_outcomes_round_trip() {
        let request = CommandRequest {
            command_id: CommandId::NIL,
            actor: Actor::agent(AgentId::NIL, Role::Supervisor),
            deadline: Some(Timestamp::from_millis(1_795_222_923_004)),
            command: Command::Take { conversation_id: ConversationId::NIL, thread_id: None },
        };
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<CommandRequest>(&json).unwrap(), request);
        let bare = CommandRequest { command: Command::ListAgents, deadline: None, ..request };
        let json = serde_json::to_string(&bare).unwrap();
        assert_eq!(serde_json::from_str::<CommandRequest>(&json).unwrap(), bare);
        for outcome in [Outcome::DONE, ErrorBody::from(crate::ErrorCode::ThreadClosed).into()] {
            let json = serde_json::to_string(&outcome).unwrap();
            assert_eq!(serde_json::from_str::<Outcome>(&json).unwrap(), outcome);
        }
    }
}
