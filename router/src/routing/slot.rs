//! What keeps a subject still while a write to it is under way.

use bus_schema::{AgentId, ConversationId, GroupId, Lane, Shard, Subject, TenantId};

use super::{input::WriteId, settings::REFUSALS_KEEPING_PLACE};

/// A queue: a group's, or the one of threads that no group has, which everyone of the tenant serves.
pub type QueueId = Option<GroupId>;

/// What is locked as one: an agent's subject, or `life` and `desk` of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Agent(AgentId),
    Conversation(ConversationId),
}

/// A subject that the router writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    Agent(AgentId),
    Life(ConversationId),
    Desk(ConversationId),
}

impl Target {
    pub const fn key(self) -> Key {
        match self {
            Target::Agent(agent) => Key::Agent(agent),
            Target::Life(conversation) | Target::Desk(conversation) => Key::Conversation(conversation),
        }
    }

    pub const fn subject(self, shard: Shard, tenant: TenantId) -> Subject {
        match self {
            Target::Agent(agent) => Subject::Agent { shard, tenant, agent },
            Target::Life(conversation) => {
                Subject::Conversation { shard, tenant, conversation, lane: Lane::Life }
            }
            Target::Desk(conversation) => {
                Subject::Conversation { shard, tenant, conversation, lane: Lane::Desk }
            }
        }
    }

    /// Of a subject whose last message is state that routing needs.
    pub const fn of(subject: Subject) -> Option<Self> {
        match subject {
            Subject::Agent { agent, .. } => Some(Target::Agent(agent)),
            Subject::Conversation { conversation, lane: Lane::Life, .. } => Some(Target::Life(conversation)),
            Subject::Conversation { conversation, lane: Lane::Desk, .. } => Some(Target::Desk(conversation)),
            Subject::Conversation { .. } | Subject::Visitor { .. } => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    #[default]
    Free,
    /// A write is under way.
    Writing(WriteId),
    /// After a mismatch: this many reads from the leader are under way.
    Reading(u8),
    /// The last state of a closed thread is being read again from the leader.
    Recalling,
    /// It is being read again from the leader, so that it is known up to this sequence.
    Checking(u64),
    /// Left alone for a while: nothing that needs it is decided.
    Paused,
}

/// The lock of one [`Key`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Lock {
    pub state: State,
    /// Something newer was read while it was locked.
    pub moved: bool,
    /// Mismatches in a row without anything newer.
    pub stale: u8,
    /// Pauses since the last write that was stored.
    pub refusals: u8,
}

impl Lock {
    pub fn is_free(&self) -> bool {
        self.state == State::Free
    }

    pub fn is_paused(&self) -> bool {
        self.state == State::Paused
    }

    /// Paused so often in a row that others need not wait for it any more.
    pub fn is_set_aside(&self) -> bool {
        self.is_paused() && self.refusals > REFUSALS_KEEPING_PLACE
    }
}
