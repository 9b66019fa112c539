//! The last `life` message of a conversation: its state, and what writes are fenced with.

use bus_schema::{ErrorBody, Event, Lane, state::LifeState, subject::ConversationSubjects};

use super::{frozen, unreadable};
use crate::log::{Log, StoredMsg};

/// A conversation's visible state, and where it is in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Life {
    pub seq: u64,
    pub state: LifeState,
}

impl Life {
    /// Reads a `life` message.
    pub fn of(message: &StoredMsg) -> Result<Self, ErrorBody> {
        Self::decode(message.seq, &message.payload).map_err(|error| frozen(&message.subject, &error))
    }

    /// Reads the payload of a `life` message.
    pub fn decode(seq: u64, payload: &[u8]) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let event = Event::decode(payload)?;
        let mut state = event.body.life_state().cloned().ok_or("an event of an unknown kind")?;
        // Only the `started` message itself cannot know its sequence.
        state.started_seq.get_or_insert(seq);
        Ok(Self { seq, state })
    }

    pub fn is_open(&self) -> bool {
        self.state.status.is_open()
    }

    /// Where the thread begins in the log.
    pub fn started_seq(&self) -> u64 {
        self.state.started_seq.unwrap_or(self.seq)
    }
}

/// The state now, from the leader; none: there is no conversation.
pub async fn life(log: &Log, home: ConversationSubjects) -> Result<Option<Life>, ErrorBody> {
    let subject = home.lane(Lane::Life).to_string();
    let last = log.last(&subject).await.map_err(|error| unreadable(&error))?;
    last.as_ref().map(Life::of).transpose()
}
