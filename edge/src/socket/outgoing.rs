//! A frame on its way to a client, and what it counts for while it waits.

use bus_schema::{ConversationId, GroupId, close::CloseCode, command::View};
use bytes::Bytes;
use uuid::Uuid;

/// What a queued frame costs beside its bytes.
const FRAME_OVERHEAD: usize = 64;

/// What a frame has the last word on, so that an earlier one that still waits says nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// A conversation as a view shows it.
    Shown(View, Option<GroupId>, ConversationId),
    /// A group's status.
    Group(GroupId),
    /// Who somebody is.
    Person(Uuid),
    /// A place in the queue.
    Position(ConversationId),
}

/// A frame to be written.
#[derive(Debug, Clone)]
pub enum Outgoing {
    /// A text frame in two parts: what all readers of a feed share, and what is this connection's own.
    Text {
        shared: Bytes,
        own: Bytes,
    },
    Pong(Bytes),
    /// The client's own close frame, sent back.
    CloseEcho(Bytes),
    Close(CloseCode),
}

impl Outgoing {
    pub fn text(whole: impl Into<Bytes>) -> Self {
        Self::Text { shared: whole.into(), own: Bytes::new() }
    }

    /// The same text, with something that is kept until its turn to be written came or it was given up.
    pub fn keeping<T: Send + 'static>(self, kept: T) -> Self {
        match self {
            Self::Text { shared, own } => {
                Self::Text { shared: Bytes::from_owner(Kept { bytes: shared, _kept: kept }), own }
            }
            other => other,
        }
    }

    pub fn cost(&self) -> usize {
        FRAME_OVERHEAD
            + match self {
                Outgoing::Text { shared, own } => shared.len() + own.len(),
                Outgoing::Pong(bytes) | Outgoing::CloseEcho(bytes) => bytes.len(),
                Outgoing::Close(_) => 0,
            }
    }

    /// Whether nothing may follow it.
    pub const fn ends(&self) -> bool {
        matches!(self, Outgoing::CloseEcho(_) | Outgoing::Close(_))
    }
}

/// Bytes that hold on to something.
struct Kept<T> {
    bytes: Bytes,
    _kept: T,
}

impl<T> AsRef<[u8]> for Kept<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
