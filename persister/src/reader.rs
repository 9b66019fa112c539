//! Batches of the log, as big as what is already there.
//!
//! Invariant: ascending, nothing left out; a batch never waits for more once it has one message.

use std::collections::VecDeque;

use bus_schema::{Shard, subject};
use futures::FutureExt as _;
use ops::log::{DeliverFrom, Log, StoredMsg, Tail, TailError};

/// Past 512 rows a transaction gains nothing but latency.
const MESSAGES_MAX: usize = 512;
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Follows one shard's log.
pub struct Reader {
    tail: Tail,
}

impl Reader {
    /// Everything after sequence `after`.
    pub async fn open(log: &Log, shard: Shard, after: u64) -> Result<Self, TailError> {
        let tail = log.tail(vec![subject::stored_in_shard(shard)], DeliverFrom::Seq(after + 1)).await?;
        Ok(Self { tail })
    }

    /// Waits for a message, and takes those behind it that have come already. Cancel-safe.
    pub async fn next(&mut self) -> Result<VecDeque<StoredMsg>, TailError> {
        let first = self.tail.next().await?;
        let mut bytes = first.payload.len();
        let mut messages = VecDeque::with_capacity(MESSAGES_MAX);
        messages.push_back(first);
        while messages.len() < MESSAGES_MAX && bytes < BYTES_MAX {
            // An error shows again at the next call.
            let Some(Ok(message)) = self.tail.next().now_or_never() else { break };
            bytes += message.payload.len();
            messages.push_back(message);
        }
        Ok(messages)
    }

    /// Grows whenever what comes may be of a log that was put back or made anew.
    pub fn begun(&self) -> u64 {
        self.tail.begun()
    }

    /// Messages of the log behind those given out.
    pub fn pending(&self) -> u64 {
        self.tail.pending()
    }
}
