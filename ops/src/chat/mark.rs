//! Marks: how far somebody has got a conversation, and how far they have read it.
//!
//! Invariant: the same mark has the same id for ever, so that a repeat, also by another edge, adds nothing within the
//! duplicate window and changes nothing after it.

use bus_schema::{
    Author, Body, ErrorBody, Event, EventId, Lane, ThreadId, Visibility,
    event::{Delivered, Read},
    subject::ConversationSubjects,
};

use super::{
    retry::{TRIES_MAX, pause},
    unwritable,
};
use crate::log::{Log, Stored, Write, WriteError};

/// Writes of one mark whose outcome stayed unknown.
const UNKNOWN_MAX: u32 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarkKind {
    Delivered,
    Read,
}

/// Somebody's marks; a read mark says `delivered` as well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marked {
    pub delivered: u64,
    pub read: u64,
}

impl Marked {
    /// What one mark says.
    pub const fn of(kind: MarkKind, up_to: u64) -> Self {
        match kind {
            MarkKind::Delivered => Self { delivered: up_to, read: 0 },
            MarkKind::Read => Self { delivered: up_to, read: up_to },
        }
    }

    /// The mark that an event is, if it is one.
    pub const fn of_body(body: &Body) -> Option<Self> {
        match body {
            Body::Delivered(data) => Some(Self::of(MarkKind::Delivered, data.up_to_seq)),
            Body::Read(data) => Some(Self::of(MarkKind::Read, data.up_to_seq)),
            _ => None,
        }
    }

    /// Both together; marks only grow.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { delivered: self.delivered.max(other.delivered), read: self.read.max(other.read) }
    }

    /// Whether another mark of this kind would say nothing new.
    pub const fn covers(self, kind: MarkKind, up_to: u64) -> bool {
        match kind {
            MarkKind::Delivered => up_to <= self.delivered || up_to <= self.read,
            MarkKind::Read => up_to <= self.read,
        }
    }
}

/// A mark to be stored.
#[derive(Debug, Clone, Copy)]
pub struct NewMark {
    pub home: ConversationSubjects,
    pub thread: ThreadId,
    pub author: Author,
    pub kind: MarkKind,
    pub up_to: u64,
}

impl NewMark {
    fn event(&self) -> Event {
        let Self { home, thread, author, kind, up_to } = *self;
        let (name, body) = match kind {
            MarkKind::Delivered => ("delivered", Body::Delivered(Delivered { up_to_seq: up_to })),
            MarkKind::Read => ("read", Body::Read(Read { up_to_seq: up_to })),
        };
        // The colon keeps it apart from every client's own id.
        let id = EventId::of_send(home.tenant, home.conversation, author.id, &format!("{name}:{up_to}"));
        Event {
            id,
            cause: None,
            tenant_id: home.tenant,
            conversation_id: Some(home.conversation),
            thread_id: Some(thread),
            author,
            client_id: None,
            visibility: Visibility::All,
            body,
        }
    }
}

/// Stores a mark. Twice the same is harmless, so an unknown outcome is simply tried again.
pub async fn mark(log: &Log, new: &NewMark) -> Result<Stored, ErrorBody> {
    let event = new.event();
    let (subject, payload) = (new.home.lane(Lane::Mark).to_string(), bytes::Bytes::from(event.encode()));
    let (mut tries, mut unknown) = (0, 0);
    loop {
        let write = Write::new(subject.clone(), payload.clone()).msg_id(event.id.to_string());
        match log.publish(write).await {
            Ok(stored) => return Ok(stored),
            Err(WriteError::InFlight | WriteError::DuplicateInFlight) if tries < TRIES_MAX => tries += 1,
            Err(WriteError::Unknown) if unknown < UNKNOWN_MAX => unknown += 1,
            Err(error) => return Err(unwritable(&error)),
        }
        pause(tries).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_mark_covers_what_is_delivered_and_not_the_other_way_round() {
        let read = Marked::of(MarkKind::Read, 5);
        assert!(read.covers(MarkKind::Delivered, 5) && read.covers(MarkKind::Read, 5));
        let delivered = Marked::of(MarkKind::Delivered, 5);
        assert!(delivered.covers(MarkKind::Delivered, 5) && !delivered.covers(MarkKind::Read, 1));
    }
}
