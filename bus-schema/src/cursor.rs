//! The bytes of a resume position: what a client holds for a conversation, opaque to it.
//!
//! It names the log's epoch, the conversation, the principal, the last sequence of each lane and what its holder has
//! come to there. The edge appends a MAC before it leaves, so that nobody can make one up; nothing here is secret.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{Audience, Author, ConversationId, Epoch, Lane, tally::Tally};

const VERSION: u8 = 2;
/// Without a tally.
const VERSION_1: u8 = 1;
const PRINCIPAL_BYTES: usize = 8;
/// Room for two people's marks, a few unread messages, and a MAC behind them.
const TYPICAL_BYTES: usize = 160;

/// A position in all lanes that a principal may read of one conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    pub epoch: Epoch,
    pub conversation: ConversationId,
    /// Short hash of who may use it.
    pub principal: [u8; PRINCIPAL_BYTES],
    pub audience: Audience,
    /// Last sequence delivered of each lane, by [`Lane::index`]; 0 where none, or not the audience's.
    pub last: [u64; Lane::ALL.len()],
    /// What the thread comes to there; none: not known, or more than fits.
    pub tally: Option<Tally>,
}

/// Bytes that are no cursor of this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor")]
pub struct BadCursor;

impl Cursor {
    pub fn principal(author: Author) -> [u8; PRINCIPAL_BYTES] {
        let digest =
            Sha256::new().chain_update(author.kind.name()).chain_update(author.id.as_bytes()).finalize();
        let mut short = [0; PRINCIPAL_BYTES];
        short.copy_from_slice(&digest[..PRINCIPAL_BYTES]);
        short
    }

    /// The same for an author who watches a conversation without taking part: what it resumes is a watch again.
    pub fn watcher(author: Author) -> [u8; PRINCIPAL_BYTES] {
        // No byte of the plain principal stays as it was, so the two never meet.
        Self::principal(author).map(|byte| !byte)
    }

    /// The highest sequence delivered.
    pub fn seq(&self) -> u64 {
        self.last.iter().copied().max().unwrap_or(0)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(TYPICAL_BYTES);
        out.push(VERSION);
        out.push(match self.audience {
            Audience::All => 0,
            Audience::Staff => 1,
        });
        out.extend_from_slice(self.epoch.uuid().as_bytes());
        out.extend_from_slice(self.conversation.uuid().as_bytes());
        out.extend_from_slice(&self.principal);
        for lane in self.audience.lanes() {
            push_varint(&mut out, self.last[lane.index()]);
        }
        if let Some(tally) = self.tally.as_ref().filter(|tally| tally.fits()) {
            tally.push_to(&mut out);
        }
        out
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadCursor> {
        let (head, mut rest) = bytes.split_at_checked(2 + 16 + 16 + PRINCIPAL_BYTES).ok_or(BadCursor)?;
        let audience = match (head[0], head[1]) {
            (VERSION | VERSION_1, 0) => Audience::All,
            (VERSION | VERSION_1, 1) => Audience::Staff,
            _ => return Err(BadCursor),
        };
        let uuid = |at: usize| Uuid::from_slice(&head[at..at + 16]).map_err(|_| BadCursor);
        let mut principal = [0; PRINCIPAL_BYTES];
        principal.copy_from_slice(&head[34..]);
        let mut last = [0; Lane::ALL.len()];
        for lane in audience.lanes() {
            last[lane.index()] = pop_varint(&mut rest)?;
        }
        let tally = match (head[0], rest.is_empty()) {
            (_, true) => None,
            (VERSION, false) => Some(Tally::pop_from(&mut rest)?),
            _ => return Err(BadCursor),
        };
        if !rest.is_empty() {
            return Err(BadCursor);
        }
        Ok(Self {
            epoch: Epoch::from_uuid(uuid(2)?),
            conversation: ConversationId::from_uuid(uuid(18)?),
            principal,
            audience,
            last,
            tally,
        })
    }
}

pub(crate) fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn pop_varint(bytes: &mut &[u8]) -> Result<u64, BadCursor> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(BadCursor)?;
        *bytes = rest;
        if shift == 63 && *byte > 1 {
            return Err(BadCursor);
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(BadCursor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cursors_round_trip(epoch: u128, conversation: u128, mut last: [u64; 5], staff: bool, started: Option<u64>) {
            let audience = if staff { Audience::Staff } else { Audience::All };
            if !staff {
                last[Lane::Desk.index()] = 0;
                last[Lane::Note.index()] = 0;
            }
            let cursor = Cursor {
                epoch: Epoch::from_uuid(Uuid::from_u128(epoch)),
                conversation: ConversationId::from_uuid(Uuid::from_u128(conversation)),
                principal: Cursor::principal(Author::SYSTEM),
                audience,
                last,
                tally: started.map(|started_seq| Tally { started_seq, unread: vec![3, 7], ..Tally::default() }),
            };
            prop_assert_eq!(Cursor::from_bytes(&cursor.to_bytes()), Ok(cursor));
        }

        #[test]
        fn those_of_the_version_before_are_read(last: [u64; 5]) {
            let cursor = Cursor {
                epoch: Epoch::NIL,
                conversation: ConversationId::NIL,
                principal: Cursor::principal(Author::SYSTEM),
                audience: Audience::Staff,
                last,
                tally: None,
            };
            let mut bytes = cursor.to_bytes();
            bytes[0] = VERSION_1;
            prop_assert_eq!(Cursor::from_bytes(&bytes), Ok(cursor));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = Cursor::from_bytes(&bytes);
        }
    }
}
