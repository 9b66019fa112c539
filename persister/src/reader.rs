//! Batches of the log: as big as what has come, at most one in [`LINGER`] unless they are full.
//!
//! Invariant: ascending, nothing left out; a message waits at most twice [`LINGER`] for others, and not at all when
//! the one before it is longer ago than that.

use std::time::Duration;

use bus_schema::{Shard, subject};
use ops::log::{DeliverFrom, Log, Tail, TailError};
use tokio::time::{Instant, timeout_at};

use crate::batch::Batch;

/// While a log is caught up with, what thousands of events change in the same conversations is written once: a quarter
/// less of Postgres's time than with 512 (`ops bench drain`). Under a steady load [`LINGER`] ends a batch long before.
const MESSAGES_MAX: usize = 4096;
/// Of the first batch; each full one may be followed by one of twice as many. Where a transaction takes too long, whoever
/// reads begins anew, and so with less.
const MESSAGES_FIRST: usize = 512;
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// A transaction costs as much as writing dozens of events: under a steady load this many milliseconds' events share
/// one. Far below what anybody notices in a list.
const LINGER: Duration = Duration::from_millis(50);

/// Follows one shard's log.
pub struct Reader {
    tail: Tail,
    batch: Batch,
    /// Messages of a full batch.
    most: usize,
    /// After this instant the batch is given out, though more may be on its way.
    due: Instant,
    /// What lies behind this sequence is not read.
    until: u64,
    ended: bool,
}

impl Reader {
    /// Everything after sequence `after`.
    pub async fn open(log: &Log, shard: Shard, after: u64) -> Result<Self, TailError> {
        let (filters, from) = (vec![subject::stored_in_shard(shard)], DeliverFrom::Seq(after + 1));
        let tail = log.tail_paced(filters, from, LINGER).await?;
        let (batch, most) = (Batch::default(), MESSAGES_FIRST);
        Ok(Self { tail, batch, most, due: Instant::now(), until: u64::MAX, ended: false })
    }

    /// Ends with the last message at or before sequence `until`.
    pub fn until(mut self, until: u64) -> Self {
        self.until = until;
        self
    }

    /// The next batch; an empty one only at the end. Cancel-safe.
    pub async fn next(&mut self) -> Result<Batch, TailError> {
        if self.batch.is_empty() && !self.ended {
            self.read().await?;
        }
        // What was stored before the last of them comes at once, unless it was purged meanwhile.
        while !self.is_full() && self.tail.pending() > 0 {
            match timeout_at(self.due, self.read()).await {
                Ok(read) => read?,
                Err(_) => break,
            }
        }
        let batch = std::mem::take(&mut self.batch);
        if batch.messages >= self.most {
            self.most = (self.most * 2).min(MESSAGES_MAX);
        }
        Ok(batch)
    }

    /// Reads ahead until the next batch is full. Cancel-safe.
    pub async fn fill(&mut self) -> Result<(), TailError> {
        while !self.is_full() {
            self.read().await?;
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<(), TailError> {
        let message = self.tail.next().await?;
        self.ended = message.seq >= self.until;
        if message.seq <= self.until {
            if self.batch.is_empty() {
                self.due = Instant::now() + LINGER;
            }
            self.batch.push(&message);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        let Batch { messages, bytes, .. } = self.batch;
        self.ended || messages >= self.most || bytes >= BYTES_MAX || self.batch.is_closed()
    }

    /// Grows whenever what comes may be of a log that was put back or made anew.
    pub fn begun(&self) -> u64 {
        self.tail.begun()
    }

    /// Messages of the log that were not given out.
    pub fn pending(&self) -> u64 {
        self.tail.pending() + self.batch.messages as u64
    }
}
