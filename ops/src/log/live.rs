//! Reading what the server republishes after it stored a message.
//!
//! Invariant: a live copy says which message of its subject came before it, so that a gap shows itself.

use async_nats::{
    Message,
    header::{NATS_LAST_SEQUENCE, NATS_SEQUENCE, NATS_TIME_STAMP},
};
use bus_schema::Timestamp;

use super::{
    StoredMsg,
    stored::number,
    write::{EXPECTED_SEQUENCE, EXPECTED_SUBJECT},
};
use crate::wire::Headers;

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

/// What a live copy says of itself beside its subject and payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveCopy {
    pub seq: u64,
    pub at: Timestamp,
    /// As in [`LiveMsg`].
    pub previous: u64,
    pub fence: Option<u64>,
}

impl LiveCopy {
    /// Reads the headers of a live copy; `None` for what is none.
    pub fn of(headers: Headers<'_>) -> Option<Self> {
        let (mut seq, mut at, mut previous, mut expected, mut fenced) = (None, None, None, None, false);
        for (name, value) in headers.iter() {
            match name {
                "Nats-Sequence" => seq = Some(value.parse().ok()?),
                "Nats-Last-Sequence" => previous = Some(value.parse().ok()?),
                "Nats-Time-Stamp" => at = Some(Timestamp::parse(value).ok()?),
                EXPECTED_SEQUENCE => expected = value.parse().ok(),
                EXPECTED_SUBJECT => fenced = true,
                _ => {}
            }
        }
        Some(Self { seq: seq?, at: at?, previous: previous?, fence: expected.filter(|_| fenced) })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_of_a_copy_are_read_where_they_lie() {
        let block = "NATS/1.0\r\nNats-Msg-Id: 1\r\nNats-Expected-Last-Subject-Sequence: 3\r\n\
             Nats-Expected-Last-Subject-Sequence-Subject: chat.x\r\nNats-Stream: CHAT_0\r\n\
             Nats-Sequence: 9\r\nNats-Time-Stamp: 2026-11-21T01:02:03.004567891Z\r\nNats-Last-Sequence: 8\r\n\r\n";
        let copy = LiveCopy::of(Headers(block.as_bytes())).unwrap();
        let at = Timestamp::parse("2026-11-21T01:02:03.004Z").unwrap();
        assert_eq!(copy, LiveCopy { seq: 9, at, previous: 8, fence: Some(3) });
        let own = block.replace("Nats-Expected-Last-Subject-Sequence-Subject: chat.x\r\n", "");
        assert_eq!(
            LiveCopy::of(Headers(own.as_bytes())).unwrap().fence,
            None,
            "its own subject fences nothing"
        );
        let none = block.replace("Nats-Last-Sequence: 8\r\n", "");
        assert_eq!(LiveCopy::of(Headers(none.as_bytes())), None);
    }
}
