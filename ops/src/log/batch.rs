//! Writing several messages as one: all of them or none.
//!
//! Invariant: the messages of a batch get consecutive sequences, in the order given.

use async_nats::header::{NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL, NATS_BATCH_ID, NATS_BATCH_SEQUENCE};
use bus_schema::limits::BATCH_MESSAGES_MAX;

use super::{Log, Write, WriteError};

impl Log {
    /// Stores all of `writes` or none, and gives the sequence of each.
    ///
    /// A subject's expectation belongs on its first message of the batch alone: the server refuses a second one
    /// for ever. A message that repeats a stored `msg_id` makes the server refuse the whole batch.
    pub async fn publish_batch(&self, mut writes: Vec<Write>) -> Result<Vec<u64>, WriteError> {
        if writes.is_empty() || writes.len() > BATCH_MESSAGES_MAX {
            return Err(WriteError::Invalid);
        }
        if writes.len() == 1 {
            let only = writes.pop().expect("one was counted");
            return self.publish(only).await.map(|stored| vec![stored.seq]);
        }
        let _permit = self.shared.in_flight.acquire().await.expect("the semaphore is never closed");
        let count = writes.len();
        let id = uuid::Uuid::now_v7().simple().to_string();
        let client = &self.shared.bus.client;
        for (at, write) in writes.into_iter().enumerate() {
            let (subject, mut headers, payload) = write.into_parts();
            headers.insert(NATS_BATCH_ID, id.as_str());
            headers.insert(NATS_BATCH_SEQUENCE, (at + 1).to_string());
            if at + 1 < count {
                // Nothing is stored before the commit, so a failure here is a refusal.
                client
                    .publish_with_headers(subject, headers, payload)
                    .await
                    .map_err(|_| WriteError::Invalid)?;
                continue;
            }
            headers.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
            let last = self.send(subject, headers, payload).await?.seq;
            let first = last.checked_sub(count as u64 - 1).ok_or(WriteError::Unknown)?;
            return Ok((first..=last).collect());
        }
        Err(WriteError::Invalid)
    }
}
