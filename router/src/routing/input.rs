//! Everything a core can be told.

use std::collections::BTreeSet;

use bus_schema::{
    ConversationId, Event, IncarnationId, Subject, TenantId, ThreadId, Timestamp, command::CommandRequest,
    config::Record,
};

use super::timers::Said;

/// Names a command until it is answered. Drawn by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// Names a write until its result is known. Drawn by the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteId(pub u64);

/// A message of the log. No event: its payload could not be read.
#[derive(Debug, Clone)]
pub struct Stored {
    pub subject: Subject,
    pub seq: u64,
    pub at: Timestamp,
    pub event: Option<Box<Event>>,
}

impl Stored {
    pub fn decode(subject: Subject, seq: u64, at: Timestamp, payload: &[u8]) -> Self {
        Self { subject, seq, at, event: Event::decode(payload).ok().map(Box::new) }
    }
}

/// What edges said when they were asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// Of those asked about, whose visitor has a connection.
    pub there: BTreeSet<ConversationId>,
    /// Who answered.
    pub edges: BTreeSet<IncarnationId>,
}

#[derive(Debug, Clone)]
pub enum Input {
    /// In any order and as often as the bus likes; own writes come back too. What is not newer is ignored.
    Log(Stored),
    Config(Record),
    /// Decide from now on: the log has been read to its end.
    Activate,
    /// Only follow the log.
    StandBy,
    Command {
        token: Token,
        tenant: TenantId,
        request: CommandRequest,
    },
    /// Stored, with the sequence of each of its messages.
    Written {
        id: WriteId,
        seqs: Vec<u64>,
    },
    /// It ended without being stored, for this reason.
    WriteFailed {
        id: WriteId,
        why: WriteFailure,
    },
    /// The leader's answer to [`super::Effect::Refresh`].
    Refreshed {
        subject: Subject,
        last: Option<Stored>,
    },
    /// The answer to [`super::Effect::Look`].
    Looked {
        tenant: TenantId,
        conversation: ConversationId,
        thread: ThreadId,
        said: Vec<Said>,
        /// The last sequence that was read, if there was any.
        up_to: Option<u64>,
        /// There may be more after it.
        more: bool,
    },
    /// The answer to [`super::Effect::AskEdges`]; none: they could not be asked.
    EdgesSaid {
        tenant: TenantId,
        asked: Vec<ConversationId>,
        heard: Option<Heard>,
    },
    /// An edge said that this conversation's visitor came or went; others may know better.
    Visitor {
        tenant: TenantId,
        conversation: ConversationId,
        came: bool,
    },
    Lease {
        incarnation: IncarnationId,
        alive: bool,
    },
    /// From now on nothing can be said of leases …
    BusDown,
    /// … and from now on it can again.
    BusWorks,
    Tick,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteFailure {
    /// A subject had moved on: it never will be stored.
    Mismatch,
    /// The server would not have it, for a reason that reading again does not mend: it never will be stored.
    Refused,
    /// It was not there when the leader was asked, and may still be stored as long as what it expects stays true.
    InDoubt,
}
