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
    let told = |found| match found {
        Found::Message(message) => each(message),
        Found::Ahead(_) => ControlFlow::Continue(()),
    };
    slice_ahead(log, filter, span, told).await
}

/// What a reader is told.
#[derive(Debug)]
pub enum Found {
    Message(StoredMsg),
    /// So many follow, counted to the end of the log, and are read next.
    Ahead(u64),
}

/// The same; before more is asked for, `each` is told how much it will be, and may break.
pub async fn slice_ahead(
    log: &Log,
    filter: &str,
    span: Span,
    mut each: impl FnMut(Found) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let (mut next, mut short) = (span.from, 0);
    while next <= span.up_to {
        let leader = short >= REPLICA_TRIES;
        let (found, pending) = if leader {
            let found = log.read_leader(filter, next, span.page).await?;
            // It does not say how many follow a full page.
            let pending = u64::from(found.len() == span.page);
            (found, pending)
        } else {
            let piece = log.piece(filter, next, span.page).await?;
            let pending = if piece.messages.is_empty() { 0 } else { piece.pending };
            (piece.messages, pending)
        };
        for message in found {
            next = message.seq + 1;
            if message.seq > span.up_to || each(Found::Message(message)).is_break() {
                return Ok(());
            }
        }
        if next > span.up_to {
            break;
        }
        if pending > 0 {
            if each(Found::Ahead(pending)).is_break() {
                return Ok(());
            }
        } else if leader {
            // The leader has nothing more: what was at the end is gone for every reader.
            break;
        } else {
            short += 1;
            tokio::time::sleep(LAG_PAUSE).await;
        }
    }
    Ok(())
}
