//! The loop that keeps one shard's read model up to date.
//!
//! Invariant: every session begins at the watermark that Postgres has, so whatever went wrong in the one before,
//! known or not, nothing is written twice and nothing is left out.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bus_schema::{Shard, Timestamp};
use ops::{
    health::Health,
    log::{Log, ReadError, TailError},
    nats::Bus,
};
use tokio::time::{self, MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    agree::{self, Disagreement},
    batch::Batch,
    board::Board,
    chain::Chain,
    db::{DbError, Pool},
    measures::Measures,
    reader::Reader,
    store::{self, Position, StoreError},
    writer::{Refusals, Writer, bounded},
};

/// The log is compared with the watermark at least this often, and whenever reading was begun anew.
const AGREE_EVERY: Duration = Duration::from_secs(5);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_LAST: Duration = Duration::from_secs(5);

/// One shard's persister.
pub struct Worker {
    shard: Shard,
    log: Log,
    pool: Pool,
    measures: Measures,
    checks: Arc<Checks>,
    refusals: Refusals,
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
struct Session<'a> {
    reader: Reader,
    writer: Writer<'a>,
    /// How often the reader had begun when the log was last compared.
    compared: u64,
}

impl Worker {
    pub fn new(bus: Bus, pool: Pool, shard: Shard, checks: Arc<Checks>) -> Self {
        let (log, measures) = (Log::new(bus, shard), Measures::new(shard));
        Self { shard, log, pool, measures, checks, refusals: Refusals::default() }
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
            let batch = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                _ = agree.tick() => {
                    // Also without traffic: Postgres may be gone, and another persister may have gone ahead.
                    if self.position().await? != session.writer.position {
                        return Err(Ended::LostRace);
                    }
                    self.agree(&mut session).await?;
                    continue;
                }
                batch = session.reader.next() => batch?,
            };
            if session.reader.begun() != session.compared {
                // These may come from a log that was put back or made anew meanwhile.
                self.agree(&mut session).await?;
            }
            self.write(&mut session, batch).await?;
        }
    }

    async fn position(&self) -> Result<Option<Position>, StoreError> {
        bounded(async {
            let mut connection = self.pool.get().await?;
            Ok(store::position(&mut connection, self.shard).await?)
        })
        .await
    }

    async fn begin(&self) -> Result<Session<'_>, Ended> {
        let position = self.position().await?;
        self.checks.postgres.ok(self.shard);
        let (end, agreed) = agree::check(&self.log, position.as_ref()).await?;
        let epoch = agreed?;
        let after = position.as_ref().map_or(0, |position| position.end.seq.unsigned_abs());
        let reader = Reader::open(&self.log, self.shard, after).await?;
        self.agreed(position.as_ref(), end.last);
        tracing::info!(shard = %self.shard, watermark = after, end = end.last, "reading the log");
        let writer = Writer::new(&self.pool, self.shard, epoch, position, &self.refusals);
        Ok(Session { reader, writer, compared: 0 })
    }

    /// Compares again. A bus that does not answer disagrees with nothing, but nothing new is written on its word.
    async fn agree(&self, session: &mut Session<'_>) -> Result<(), Ended> {
        let begun = session.reader.begun();
        let (end, agreed) = match agree::check(&self.log, session.writer.position.as_ref()).await {
            Ok(checked) => checked,
            Err(error) if begun == session.compared => {
                tracing::debug!(shard = %self.shard, %error, "the log could not be compared");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let epoch = agreed?;
        let kept = session.writer.epoch();
        if epoch != kept {
            return Err(Disagreement::OtherEpoch { kept, log: epoch }.into());
        }
        session.compared = begun;
        self.agreed(session.writer.position.as_ref(), end.last);
        Ok(())
    }

    /// Writes a batch, and reads the next one while Postgres is busy with it.
    async fn write(&self, session: &mut Session<'_>, batch: Batch) -> Result<(), Ended> {
        let (Session { reader, writer, .. }, began) = (session, Instant::now());
        let written = writer.write_beside(batch, reader.fill()).await?;
        self.measures.wrote(written, began.elapsed());
        if let Some(Position { end, .. }) = &writer.position {
            self.measures.stands(end.seq.unsigned_abs(), end.at, reader.pending());
        }
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
