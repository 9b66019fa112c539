//! Writing batch after batch, whatever Postgres says to one of them.
//!
//! Invariant: an event that Postgres refuses again and again, alone, is parked with its reason, counted, and read
//! past; all others are written. What may be the fault of anything but the event is never parked: then it fails.

use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bus_schema::{Epoch, Shard};
use tokio::time::{sleep, timeout};

use crate::{
    batch::Batch,
    chain::Chain,
    db::{DbError, Pool},
    store::{self, Position, StoreError, Written},
};

/// A transaction that takes longer is given up: its outcome is read from the watermark.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// So often, with [`REFUSED_PAUSE`] between, an event is refused alone before it is parked.
const REFUSED_TRIES: u32 = 3;
const REFUSED_PAUSE: Duration = Duration::from_millis(100);
/// More events than this one after the other are not to blame themselves: something is wrong with the database.
const REFUSED_IN_A_ROW_MAX: u32 = 16;

/// Events that were parked since the last one that Postgres took; kept over sessions.
#[derive(Debug, Default)]
pub struct Refusals(AtomicU32);

/// Writes what follows a position.
pub struct Writer<'a> {
    pool: &'a Pool,
    shard: Shard,
    epoch: Epoch,
    pub position: Option<Position>,
    refusals: &'a Refusals,
}

impl<'a> Writer<'a> {
    pub fn new(
        pool: &'a Pool,
        shard: Shard,
        epoch: Epoch,
        position: Option<Position>,
        refusals: &'a Refusals,
    ) -> Self {
        Self { pool, shard, epoch, position, refusals }
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
        let mut write = pin!(self.write(batch));
        tokio::select! {
            biased;
            written = &mut write => written,
            _ = beside => write.await,
        }
    }

    /// Writes all of `batch`, in as many transactions as it takes.
    async fn write(&mut self, batch: Batch) -> Result<Written, StoreError> {
        let (mut written, mut waiting) = (Written::default(), vec![batch]);
        while let Some(batch) = waiting.pop() {
            match self.transact(&batch).await {
                Ok(more) => written += more,
                Err(StoreError::Db(error)) if error.is_refusal() => match batch.halve() {
                    Ok((front, back)) => waiting.extend([back, front]),
                    Err(single) => written += self.alone(*single, error).await?,
                },
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }

    /// One event at most, which was just refused with `error`.
    async fn alone(&mut self, batch: Batch, mut error: DbError) -> Result<Written, StoreError> {
        for _ in 1..REFUSED_TRIES {
            sleep(REFUSED_PAUSE).await;
            match self.transact(&batch).await {
                Err(StoreError::Db(again)) if again.is_refusal() => error = again,
                done => return done,
            }
        }
        // An erasure is a promise to a person, and nothing may follow it before it is kept.
        let must = batch.entries.is_empty() || batch.is_closed();
        if must || self.refusals.0.load(Ordering::Relaxed) >= REFUSED_IN_A_ROW_MAX {
            return Err(error.into());
        }
        let parked = batch.park(&Chain(&error).to_string());
        let written = self.transact(&parked).await?;
        self.refusals.0.fetch_add(1, Ordering::Relaxed);
        Ok(written)
    }

    async fn transact(&mut self, batch: &Batch) -> Result<Written, StoreError> {
        let Some(end) = batch.end.clone() else { return Ok(Written::default()) };
        for parked in &batch.parked {
            tracing::error!(seq = parked.seq, subject = parked.subject, reason = parked.reason, "parked");
        }
        let written = bounded(async {
            let mut connection = self.pool.get().await?;
            store::write(&mut connection, self.shard, self.epoch, self.position.as_ref(), batch).await
        })
        .await?;
        if written.new > 0 {
            self.refusals.0.store(0, Ordering::Relaxed);
        }
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
