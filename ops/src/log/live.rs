//! Reading what the server republishes after it stored a message.
//!
//! Invariant: a live copy says which message of its subject came before it, so that a gap shows itself.

use async_nats::{
    Message,
    header::{NATS_LAST_SEQUENCE, NATS_SEQUENCE, NATS_TIME_STAMP},
};
use bus_schema::Timestamp;

use super::{StoredMsg, stored::number};

const LIVE: &str = "live.";
const STORED: &str = "chat.";

/// A message as it was republished.
#[derive(Debug, Clone)]
pub struct LiveMsg {
    pub stored: StoredMsg,
    /// The sequence of the message before it on exactly this subject; 0 = there was none.
    pub previous: u64,
    /// The sequence of the subject that fenced this write, where another subject did.
    pub fence: Option<u64>,
}

/// Reads a live copy; `None` for what is none.
pub fn live(message: &Message) -> Option<LiveMsg> {
    into_live(message.clone())
}

/// The same for whoever gives the message away: nothing of it is copied but its subject.
pub fn into_live(message: Message) -> Option<LiveMsg> {
    let headers = message.headers?;
    let rest = message.subject.as_str().strip_prefix(LIVE)?;
    let mut subject = String::with_capacity(STORED.len() + rest.len());
    subject.push_str(STORED);
    subject.push_str(rest);
    let previous = number(&headers, NATS_LAST_SEQUENCE)?;
    let stored = StoredMsg {
        subject,
        seq: number(&headers, NATS_SEQUENCE)?,
        at: Timestamp::parse(headers.get(NATS_TIME_STAMP)?.as_str()).ok()?,
        headers,
        payload: message.payload,
    };
    Some(LiveMsg { previous, fence: stored.fence(), stored })
}
