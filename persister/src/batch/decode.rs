//! From a stored message to an event that can be projected, or to the reason why not.
//!
//! Invariant: never fails: what cannot be read, or claims to be somewhere else than it is, is parked whole.

use bus_schema::{Event, Lane, Subject, TenantId, Timestamp, event::Kind};
use ops::log::StoredMsg;

use super::{End, text::clean};
use crate::{
    db::{At, Id},
    rows::ParkedRow,
};

/// An event with its place in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub seq: i64,
    pub at: Timestamp,
    pub subject: Subject,
    pub event: Event,
    pub payload: String,
}

#[derive(Debug)]
pub enum Decoded {
    Event(Box<Entry>),
    Parked(ParkedRow),
}

#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error("not a subject of the log")]
    Subject,
    #[error("not UTF-8")]
    Utf8,
    #[error("{0}: {1}")]
    Event(String, String),
    #[error("says it belongs to another {0} than its subject")]
    Elsewhere(&'static str),
}

pub fn decode(message: &StoredMsg) -> Decoded {
    match read(message) {
        Ok(entry) => Decoded::Event(Box::new(entry)),
        Err(reason) => Decoded::Parked(park(message, &reason)),
    }
}

impl Entry {
    /// After it, nothing of the visitor may be left that came before.
    pub fn erases(&self) -> bool {
        self.event.body.kind() == Some(Kind::VisitorErased)
    }

    /// Where a batch ends whose last message this is.
    pub fn end(&self) -> End {
        End { seq: self.seq, subject: self.subject.to_string(), at: self.at, id: Some(self.event.id) }
    }

    /// As a message that is no event.
    pub fn park(self, reason: &str) -> ParkedRow {
        let subject = self.subject.to_string();
        ParkedRow {
            tenant_id: Id(self.event.tenant_id),
            shard: shard_of(&subject),
            seq: self.seq,
            at: At(self.at),
            subject,
            reason: clean(reason),
            payload: self.payload.into_bytes(),
        }
    }

    /// The last word of its subject.
    pub fn lane(&self) -> &'static str {
        match self.subject {
            Subject::Conversation { lane, .. } => match lane {
                Lane::Life => "life",
                Lane::Msg => "msg",
                Lane::Mark => "mark",
                Lane::Desk => "desk",
                Lane::Note => "note",
            },
            Subject::Agent { .. } => "agent",
            Subject::Visitor { .. } => "visitor",
        }
    }
}

fn read(message: &StoredMsg) -> Result<Entry, Unreadable> {
    let subject = Subject::parse(&message.subject).map_err(|_| Unreadable::Subject)?;
    let payload = std::str::from_utf8(&message.payload).map_err(|_| Unreadable::Utf8)?;
    let event = Event::decode(message.payload.as_ref()).map_err(|error| {
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        Unreadable::Event(error.to_string(), source)
    })?;
    if event.tenant_id != subject.tenant() {
        return Err(Unreadable::Elsewhere("tenant"));
    }
    let home = subject.conversation().map(|(conversation, _)| conversation);
    if event.conversation_id.is_some() && event.conversation_id != home {
        return Err(Unreadable::Elsewhere("conversation"));
    }
    let whom = match (subject, event.body.visitor_record(), event.body.agent_state()) {
        (Subject::Visitor { visitor, .. }, Some(record), _) if record.visitor_id != visitor => {
            Some("visitor")
        }
        (Subject::Agent { agent, .. }, _, Some(state)) if state.agent_id != agent => Some("agent"),
        _ => None,
    };
    if let Some(whom) = whom {
        return Err(Unreadable::Elsewhere(whom));
    }
    Ok(Entry { seq: seq(message), at: message.at, subject, event, payload: payload.to_owned() })
}

fn park(message: &StoredMsg, reason: &Unreadable) -> ParkedRow {
    let subject = Subject::parse(&message.subject).ok();
    ParkedRow {
        tenant_id: Id(subject.map_or(TenantId::NIL, Subject::tenant)),
        shard: shard_of(&message.subject),
        seq: seq(message),
        at: At(message.at),
        subject: clean(&message.subject),
        reason: clean(&reason.to_string()),
        payload: message.payload.to_vec(),
    }
}

/// The stream captures `chat.v1.<shard>.>`, so the third word is always its shard.
fn shard_of(subject: &str) -> i32 {
    subject.split('.').nth(2).and_then(|shard| shard.parse().ok()).unwrap_or(-1)
}

fn seq(message: &StoredMsg) -> i64 {
    i64::try_from(message.seq).expect("a stream does not reach 2^63 messages")
}
