//! Signals: what is told and never stored.

use serde::{Deserialize, Serialize};

use crate::{Author, ConversationId};

/// Sent on [`crate::subject::ConversationSubjects::signals`]. Readers ignore kinds that they do not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Signal {
    Typing {
        conversation_id: ConversationId,
        author: Author,
        on: bool,
    },
    Preview {
        conversation_id: ConversationId,
        author: Author,
        text: String,
    },
    /// A router needs the conversation quiet for its batch: edges hold its writes for this long.
    Hold {
        conversation_id: ConversationId,
        for_ms: u64,
    },
    QueuePosition {
        conversation_id: ConversationId,
        position: u32,
        wait_s: Option<u64>,
    },
    #[serde(other)]
    Unknown,
}

/// How long a router may hold a conversation's writes.
pub const HOLD_MS: u64 = 200;
/// How long a typing or preview signal is shown unless repeated.
pub const EXPIRES_MS: u64 = 6_000;
