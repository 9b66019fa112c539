//! Everything a core wants done.

use std::collections::BTreeSet;

use bus_schema::{
    ConversationId, Event, IncarnationId, Subject, TenantId, ThreadId,
    command::Outcome,
    signal::{Signal, TenantSignal},
    subject::TenantTopic,
};

use super::input::{Token, WriteId};

#[derive(Debug, Clone)]
pub enum Effect {
    /// Store all of it or none, each message only if its subject's last sequence is as expected. Answered with
    /// [`super::Input::Written`] or [`super::Input::WriteFailed`], and with what is certain of the outcome.
    Write(Write),
    /// The one answer to a command.
    Reply { token: Token, outcome: Outcome },
    /// Read the subject's last message from the leader. Answered with [`super::Input::Refreshed`].
    Refresh { subject: Subject },
    /// Read what people said in a thread after this sequence. Answered with [`super::Input::Looked`].
    Look { tenant: TenantId, conversation: ConversationId, thread: ThreadId, after: u64 },
    /// Ask all edges which of these conversations' visitors have a connection; as far as is known there are these edges.
    /// Answered with [`super::Input::EdgesSaid`].
    AskEdges { tenant: TenantId, conversations: Vec<ConversationId>, edges: BTreeSet<IncarnationId> },
    /// Say it to whoever listens; nothing waits for it, and it may be lost.
    Tell { tenant: TenantId, told: Told },
}

/// A signal and whom it is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Conversation(ConversationId, Signal),
    Tenant(TenantTopic, TenantSignal),
}

#[derive(Debug, Clone)]
pub struct Write {
    pub id: WriteId,
    pub tenant: TenantId,
    pub messages: Vec<Message>,
}

#[derive(Debug, Clone)]
pub struct Message {
    pub subject: Subject,
    /// The subject's last sequence; 0: none yet. Absent after the first message of a subject: the log takes no second
    /// expectation in a batch.
    pub expected: Option<u64>,
    pub event: Event,
}
