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

use bus_schema::{EventId, TenantId};
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
    /// Messages of the run, and the bytes of their payloads.
    pub messages: usize,
    pub bytes: usize,
    ids: HashSet<(TenantId, EventId)>,
}

/// Where a batch ends: what the watermark will say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub seq: i64,
    pub subject: String,
    pub at: bus_schema::Timestamp,
    pub id: Option<EventId>,
}

impl Batch {
    /// Adds the message that comes next in the log.
    pub fn push(&mut self, message: &StoredMsg) {
        debug_assert!(!self.is_closed(), "what follows an erasure is another batch's");
        let decoded = decode(message);
        self.messages += 1;
        self.bytes += message.payload.len();
        self.end = Some(End::of(message, &decoded));
        match decoded {
            Decoded::Parked(row) => self.parked.push(row),
            Decoded::Event(entry) if self.ids.insert((entry.event.tenant_id, entry.event.id)) => {
                self.entries.push(*entry);
            }
            Decoded::Event(_) => self.repeated += 1,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.end.is_none()
    }

    /// Whether nothing may be added: it ends with an erasure, and deleting must never meet rows that are newer.
    pub fn is_closed(&self) -> bool {
        self.entries.last().is_some_and(Entry::erases)
    }

    /// Two batches that do the same as this one, each with a part of its events; none if it has at most one event.
    pub fn halve(mut self) -> Result<(Self, Self), Box<Self>> {
        if self.entries.len() < 2 {
            return Err(Box::new(self));
        }
        let back = self.entries.split_off(self.entries.len() / 2);
        let front_end = self.entries.last().map(Entry::end);
        let until = front_end.as_ref().map_or(0, |end| end.seq);
        let (parked, later) = self.parked.into_iter().partition(|row| row.seq <= until);
        let front = Self { entries: self.entries, parked, end: front_end, ..Self::default() };
        let back =
            Self { entries: back, parked: later, repeated: self.repeated, end: self.end, ..Self::default() };
        Ok((front, back))
    }

    /// The same run with its events parked instead of written. Its end stays: the event there can be read.
    pub fn park(mut self, reason: &str) -> Self {
        self.parked.extend(self.entries.drain(..).map(|entry| entry.park(reason)));
        self
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
