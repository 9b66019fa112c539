//! What a batch of the log does to the read model: pure, so that a rebuild does exactly the same.
//!
//! Invariant: the same log gives the same rows however it is cut into batches.

mod decode;
mod fold;
mod life;
mod people;
mod said;
mod staff;
#[cfg(test)]
mod tests;
mod text;

pub use decode::{Decoded, Entry, decode};
pub use fold::{Rows, fold};

use std::collections::HashSet;

use ops::log::StoredMsg;

use crate::{
    db::Id,
    rows::{EventRow, ParkedRow},
};

/// A run of messages that is written in one transaction.
#[derive(Debug, Default)]
pub struct Batch {
    pub entries: Vec<Entry>,
    pub parked: Vec<ParkedRow>,
    /// Events whose id came before in the same batch: the first counts.
    pub repeated: usize,
    /// The last message of the run.
    pub end: Option<End>,
}

/// Where a batch ends: what the watermark will say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub seq: i64,
    pub subject: String,
    pub at: bus_schema::Timestamp,
    pub id: Option<bus_schema::EventId>,
}

impl Batch {
    /// Takes messages from the front of `messages`: all of them, or up to the first erasure. What follows an erasure
    /// is another batch's, so that deleting never meets rows that are newer.
    pub fn take(messages: &mut std::collections::VecDeque<StoredMsg>) -> Self {
        let mut batch = Self::default();
        let mut seen = HashSet::new();
        while let Some(message) = messages.pop_front() {
            let decoded = decode(&message);
            let erases = matches!(&decoded, Decoded::Event(entry) if entry.erases());
            batch.end = Some(End::of(&message, &decoded));
            match decoded {
                Decoded::Parked(row) => batch.parked.push(row),
                Decoded::Event(entry) if seen.insert((entry.event.tenant_id, entry.event.id)) => {
                    batch.entries.push(*entry);
                }
                Decoded::Event(_) => batch.repeated += 1,
            }
            if erases {
                break;
            }
        }
        batch
    }
}

impl End {
    /// What the watermark says of this message.
    pub fn of(message: &StoredMsg, decoded: &Decoded) -> Self {
        let (seq, id) = match decoded {
            Decoded::Event(entry) => (entry.seq, Some(entry.event.id)),
            Decoded::Parked(row) => (row.seq, None),
        };
        Self { seq, subject: text::clean(&message.subject), at: message.at, id }
    }
}

/// The row of `events` for an entry.
pub fn event_row(entry: &Entry) -> EventRow {
    use bus_schema::{Subject, Visibility};
    let event = &entry.event;
    let (subject_id, conversation_id) = match entry.subject {
        Subject::Conversation { conversation, .. } => (conversation.uuid(), Some(Id(conversation))),
        Subject::Agent { agent, .. } => (agent.uuid(), None),
        Subject::Visitor { visitor, .. } => (visitor.uuid(), None),
    };
    EventRow {
        tenant_id: Id(event.tenant_id),
        seq: entry.seq,
        at: crate::db::At(entry.at),
        id: Id(event.id),
        lane: entry.lane(),
        subject_id,
        conversation_id,
        thread_id: event.thread_id.map(Id),
        kind: text::clean(event.body.name()),
        author_type: event.author.kind.name(),
        author_id: event.author.id,
        client_id: event.client_id.as_ref().map(|id| id.as_str().to_owned()),
        visibility: match event.visibility {
            Visibility::All => "all",
            Visibility::Agents => "agents",
        },
        payload: entry.payload.clone(),
    }
}
