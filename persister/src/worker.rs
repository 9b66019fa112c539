//! The loop that keeps one shard's read model up to date.
//!
//! Invariant: every session begins at the watermark that Postgres has, so whatever went wrong in the one before,
//! known or not, nothing is written twice and nothing is left out.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use bus_schema::{Epoch, Shard, Timestamp};
use ops::{
    health::Health,
    log::{Log, ReadError, TailError},
    nats::Bus,
};
use tokio::time::{self, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    agree::{self, Disagreement},
    batch::Batch,
    board::Board,
    db::{DbError, Pool},
    measures::Measures,
    reader::Reader,
    store::{self, Position, StoreError},
};

/// The log is compared with the watermark at least this often, and whenever reading was begun anew.
const AGREE_EVERY: Duration = Duration::from_secs(5);
/// A transaction, or a read of the watermark, that takes longer is given up: its outcome is read from the watermark.
const ANSWER_MAX: Duration = Duration::from_secs(20);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LAST: Duration = Duration::from_secs(5);

/// One shard's persister.
pub struct Worker {
    shard: Shard,
    log: Log,
    pool: Pool,
    measures: Measures,
    checks: Arc<Checks>,
}

/// What readiness depends on, for all shards of this process.
pub struct Checks {
    pub postgres: Board,
    pub log: Board,
}

impl Checks {
    pub fn new(health: &Health, shards: &[Shard]) -> Arc<Self> {
        let board = |name| Board::new(health.check(name), shards);
        Arc::new(Self { postgres: board("postgres"), log: board("log") })
    }
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Tail(#[from] TailError),
    #[error("another persister works on this shard")]
    LostRace,
    #[error(transparent)]
    Disagrees(#[from] Disagreement),
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LostRace => Ended::LostRace,
            StoreError::Db(error) => Ended::Db(error),
        }
    }
}

/// What a session knows of the log it reads.
struct Session {
    reader: Reader,
    epoch: Epoch,
    position: Option<Position>,
    /// How often the reader had begun when the log was last compared.
    compared: u64,
}

impl Worker {
    pub fn new(bus: Bus, pool: Pool, shard: Shard, checks: Arc<Checks>) -> Self {
        Self { shard, log: Log::new(bus, shard), pool, measures: Measures::new(shard), checks }
    }

    /// Works until `shutdown`; a batch that has begun is finished.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut backoff = BACKOFF_FIRST;
        while !shutdown.is_cancelled() {
            let began = Instant::now();
            let Err(ended) = self.session(&shutdown).await else { return };
            self.report(&ended);
            let end = shutdown.run_until_cancelled(self.log.end()).await;
            if let Some(Ok(end)) = end {
                self.measures.waits(end.last);
            }
            if began.elapsed() > BACKOFF_LAST || matches!(ended, Ended::LostRace) {
                backoff = BACKOFF_FIRST;
            }
            let _stopped = shutdown.run_until_cancelled(sleep(backoff)).await;
            backoff = (backoff * 2).min(BACKOFF_LAST);
        }
    }

    /// From the watermark on, until told to stop or something goes wrong.
    async fn session(&self, shutdown: &CancellationToken) -> Result<(), Ended> {
        let Some(begun) = shutdown.run_until_cancelled(self.begin()).await else { return Ok(()) };
        let mut session = begun?;
        let mut agree = interval_at(time::Instant::now() + AGREE_EVERY, AGREE_EVERY);
        agree.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut messages = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                _ = agree.tick() => {
                    // Also without traffic: Postgres may be gone, and another persister may have gone ahead.
                    if self.position().await? != session.position {
                        return Err(Ended::LostRace);
                    }
                    self.agree(&mut session).await?;
                    continue;
                }
                messages = session.reader.next() => messages?,
            };
            if session.reader.begun() != session.compared {
                // These may come from a log that was put back or made anew meanwhile.
                self.agree(&mut session).await?;
            }
            while !messages.is_empty() {
                self.write(&mut session, Batch::take(&mut messages)).await?;
            }
        }
    }

    async fn position(&self) -> Result<Option<Position>, StoreError> {
        bounded(async {
            let mut connection = self.pool.get().await?;
            Ok(store::position(&mut connection, self.shard).await?)
        })
        .await
    }

    async fn begin(&self) -> Result<Session, Ended> {
        let position = self.position().await?;
        self.checks.postgres.ok(self.shard);
        let (end, agreed) = agree::check(&self.log, position.as_ref()).await?;
        let epoch = agreed?;
        let after = position.as_ref().map_or(0, |position| position.end.seq.unsigned_abs());
        let reader = Reader::open(&self.log, self.shard, after).await?;
        self.agreed(position.as_ref(), end.last);
        tracing::info!(shard = %self.shard, watermark = after, end = end.last, "reading the log");
        Ok(Session { reader, epoch, position, compared: 0 })
    }

    /// Compares again. A bus that does not answer disagrees with nothing, but nothing new is written on its word.
    async fn agree(&self, session: &mut Session) -> Result<(), Ended> {
        let begun = session.reader.begun();
        let (end, agreed) = match agree::check(&self.log, session.position.as_ref()).await {
            Ok(checked) => checked,
            Err(error) if begun == session.compared => {
                tracing::debug!(shard = %self.shard, %error, "the log could not be compared");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let epoch = agreed?;
        if epoch != session.epoch {
            return Err(Disagreement::OtherEpoch { kept: session.epoch, log: epoch }.into());
        }
        session.compared = begun;
        self.agreed(session.position.as_ref(), end.last);
        Ok(())
    }

    async fn write(&self, session: &mut Session, batch: Batch) -> Result<(), Ended> {
        let Some(end) = batch.end.clone() else { return Ok(()) };
        for parked in &batch.parked {
            tracing::error!(seq = parked.seq, subject = parked.subject, reason = parked.reason, "parked");
        }
        let began = Instant::now();
        let written = bounded(async {
            let mut connection = self.pool.get().await?;
            let position = session.position.as_ref();
            store::write(&mut connection, self.shard, session.epoch, position, batch).await
        })
        .await?;
        self.measures.wrote(written, began.elapsed());
        self.measures.stands(end.seq.unsigned_abs(), end.at, session.reader.pending());
        session.position = Some(Position { epoch: session.epoch, end });
        Ok(())
    }

    fn agreed(&self, position: Option<&Position>, last: u64) {
        let (applied, at) = position.map_or((0, Timestamp::from_millis(0)), |position| {
            (position.end.seq.unsigned_abs(), position.end.at)
        });
        self.measures.stands(applied, at, last.saturating_sub(applied));
        self.measures.halted.set(0.0);
        self.checks.log.ok(self.shard);
    }

    fn report(&self, ended: &Ended) {
        let shard = self.shard;
        match ended {
            Ended::LostRace => {
                self.measures.races.increment(1);
                tracing::info!(%shard, "{ended}: going on from its watermark");
            }
            Ended::Disagrees(disagreement) => {
                self.measures.halted.set(1.0);
                self.checks.log.fail(shard, format!("halted: {disagreement}"));
                tracing::error!(%shard, "halted: {disagreement}");
            }
            Ended::Db(error) if error.is_conflict() => {
                self.measures.halted.set(1.0);
                let reason = "the read model has another event at a sequence that the log goes on with";
                self.checks.log.fail(shard, format!("halted: {reason}: {}", Chain(error)));
                tracing::error!(%shard, error = %Chain(error), "halted: {reason}");
            }
            Ended::Db(error) => {
                self.measures.failures.increment(1);
                self.checks.postgres.fail(shard, Chain(error).to_string());
                tracing::warn!(%shard, error = %Chain(error), "the batch is tried again");
            }
            Ended::Read(ReadError::Refused { text, .. }) => {
                self.checks.log.fail(shard, format!("the log cannot be read: {text}"));
                tracing::error!(%shard, "{ended}");
            }
            Ended::Read(_) | Ended::Tail(_) => {
                tracing::warn!(%shard, error = %Chain(ended), "the log cannot be read now");
            }
        }
    }
}

/// What Postgres answers within [`ANSWER_MAX`]. A connection that is given up in a transaction is not used again.
async fn bounded<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match timeout(ANSWER_MAX, work).await {
        Ok(done) => done,
        Err(_) => Err(DbError::Unavailable(format!("no answer within {ANSWER_MAX:?}")).into()),
    }
}

/// An error with its causes on one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
