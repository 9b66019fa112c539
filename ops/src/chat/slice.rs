//! A complete piece of the log, whichever replica answers.
//!
//! Invariant: `slice` gives every message up to an end that the leader named, ascending, or an error; unless the
//! caller has enough before.

use std::{ops::ControlFlow, time::Duration};

use crate::log::{Log, ReadError, StoredMsg};

/// Messages of one read, where the caller does not know how many there are.
const PAGE: usize = 256;
/// Reads that may end short before the leader is asked.
const REPLICA_TRIES: u32 = 2;
const LAG_PAUSE: Duration = Duration::from_millis(5);

/// From one sequence through another, where the leader has said that something at or above `up_to` exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: u64,
    pub up_to: u64,
    page: usize,
}

impl Span {
    pub const fn new(from: u64, up_to: u64) -> Self {
        Self { from, up_to, page: PAGE }
    }

    /// About so many messages are expected or wanted.
    pub fn about(self, messages: usize) -> Self {
        Self { page: messages.clamp(1, PAGE), ..self }
    }
}

/// Reads all that matches `filter` within `span`, until `each` breaks.
pub async fn slice(
    log: &Log,
    filter: &str,
    span: Span,
    mut each: impl FnMut(StoredMsg) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let (mut next, mut short) = (span.from, 0);
    while next <= span.up_to {
        let leader = short >= REPLICA_TRIES;
        let (found, ended) = if leader {
            let found = log.read_leader(filter, next, span.page).await?;
            let ended = found.len() < span.page;
            (found, ended)
        } else {
            let piece = log.piece(filter, next, span.page).await?;
            let ended = piece.pending == 0 || piece.messages.is_empty();
            (piece.messages, ended)
        };
        for message in found {
            next = message.seq + 1;
            if message.seq > span.up_to || each(message).is_break() {
                return Ok(());
            }
        }
        if ended && next <= span.up_to {
            if leader {
                // The leader has nothing more: what was at the end is gone for every reader.
                break;
            }
            short += 1;
            tokio::time::sleep(LAG_PAUSE).await;
        }
    }
    Ok(())
}
