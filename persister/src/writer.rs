//! Writing batch after batch.
//!
//! Invariant: the position is that of the last transaction that is known to be done.

use std::{future::Future, pin::pin, time::Duration};

use bus_schema::{Epoch, Shard};
use tokio::time::timeout;

use crate::{
    batch::Batch,
    db::{DbError, Pool},
    store::{self, Position, StoreError, Written},
};

/// A transaction that takes longer is given up: its outcome is read from the watermark.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Writes what follows a position.
pub struct Writer<'a> {
    pool: &'a Pool,
    shard: Shard,
    epoch: Epoch,
    pub position: Option<Position>,
}

impl<'a> Writer<'a> {
    pub fn new(pool: &'a Pool, shard: Shard, epoch: Epoch, position: Option<Position>) -> Self {
        Self { pool, shard, epoch, position }
    }

    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Writes all of `batch` while `beside` goes on as far as it gets; how that ended its next call tells.
    pub async fn write_beside<T>(
        &mut self,
        batch: Batch,
        beside: impl Future<Output = T>,
    ) -> Result<Written, StoreError> {
        let mut write = pin!(self.write(&batch));
        tokio::select! {
            biased;
            written = &mut write => written,
            _ = beside => write.await,
        }
    }

    async fn write(&mut self, batch: &Batch) -> Result<Written, StoreError> {
        let Some(end) = batch.end.clone() else { return Ok(Written::default()) };
        for parked in &batch.parked {
            tracing::error!(seq = parked.seq, subject = parked.subject, reason = parked.reason, "parked");
        }
        let written = bounded(async {
            let mut connection = self.pool.get().await?;
            store::write(&mut connection, self.shard, self.epoch, self.position.as_ref(), batch).await
        })
        .await?;
        self.position = Some(Position { epoch: self.epoch, end });
        Ok(written)
    }
}

/// What Postgres answers within [`ANSWER_MAX`]. A connection that is given up in a transaction is not used again.
pub async fn bounded<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match timeout(ANSWER_MAX, work).await {
        Ok(done) => done,
        Err(_) => Err(DbError::Unavailable(format!("no answer within {ANSWER_MAX:?}")).into()),
    }
}
