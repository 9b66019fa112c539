//! Writing a batch: events, projections and position in one transaction.
//!
//! Invariant: the watermark moves first and by compare-and-set, so of two writers one waits and then writes
//! nothing; only events that were new are projected.

use std::collections::HashSet;

use bus_schema::{Epoch, Shard};
use diesel::QueryResult;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _};
use futures::{
    FutureExt as _,
    future::{BoxFuture, ready},
};

use crate::{
    batch::{Batch, End, Rows, event_row, fold},
    db::{At, DbError, Id},
    rows::{InsertEvents, MoveRow, MoveWatermark, Pipe, StartRow, StartWatermark},
};

/// `BEGIN` and `COMMIT`.
const AROUND: usize = 2;

/// Where a shard's reading stands, and in which log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub epoch: Epoch,
    pub end: End,
}

/// What a transaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Events that were new, and projected.
    pub new: usize,
    /// Events whose id was there already.
    pub repeated: usize,
    pub parked: usize,
    pub unknown: usize,
    /// SQL statements that it took.
    pub statements: usize,
}

impl std::ops::AddAssign for Written {
    fn add_assign(&mut self, more: Self) {
        self.new += more.new;
        self.repeated += more.repeated;
        self.parked += more.parked;
        self.unknown += more.unknown;
        self.statements += more.statements;
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else moved the watermark: nothing was written.
    #[error("another persister works on this shard")]
    LostRace,
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<diesel::result::Error> for StoreError {
    fn from(error: diesel::result::Error) -> Self {
        StoreError::Db(error.into())
    }
}

/// Where the read model stands; none if it never read this shard.
pub async fn position(connection: &mut AsyncPgConnection, shard: Shard) -> Result<Option<Position>, DbError> {
    use diesel::sql_types::{BigInt, Integer, Nullable, Text, Timestamptz, Uuid};
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = Uuid)]
        epoch: Id<Epoch>,
        #[diesel(sql_type = BigInt)]
        seq: i64,
        #[diesel(sql_type = Text)]
        subject: String,
        #[diesel(sql_type = Timestamptz)]
        at: At,
        #[diesel(sql_type = Nullable<Uuid>)]
        id: Option<Id<bus_schema::EventId>>,
    }
    let query = diesel::sql_query("SELECT epoch, seq, subject, at, id FROM watermark WHERE shard = $1")
        .bind::<Integer, _>(i32::from(shard.0));
    let rows: Vec<Row> = query.load(connection).await?;
    Ok(rows.into_iter().next().map(|row| Position {
        epoch: row.epoch.0,
        end: End { seq: row.seq, subject: row.subject, at: row.at.0, id: row.id.map(|id| id.0) },
    }))
}

/// Writes `batch`, which follows `before` in the log `epoch`, and moves the watermark to its end.
pub async fn write(
    connection: &mut AsyncPgConnection,
    shard: Shard,
    epoch: Epoch,
    before: Option<&Position>,
    batch: &Batch,
) -> Result<Written, StoreError> {
    let Some(end) = &batch.end else { return Ok(Written::default()) };
    connection
        .transaction(async |connection| {
            let connection = &*connection;
            let mut parked = Pipe::new(connection);
            parked.add(batch.parked.iter().cloned());
            // Sent together, in this order; the second waits for the row that the first has locked.
            let (moved, new, parked) = futures::join!(
                move_watermark(connection, shard, epoch, before, end),
                insert_events(connection, batch),
                parked.run(),
            );
            if moved? != 1 {
                return Err(StoreError::LostRace);
            }
            let (new, parked) = (new?, parked?);
            let rows = fold(batch.entries.iter().filter(|entry| new.contains(&entry.seq)));
            let unknown = rows.unknown;
            let projected = project(connection, rows).run().await?;
            Ok(Written {
                new: new.len(),
                repeated: batch.repeated + batch.entries.len() - new.len(),
                parked: batch.parked.len(),
                unknown,
                statements: AROUND + 1 + usize::from(!batch.entries.is_empty()) + parked + projected,
            })
        })
        .await
}

/// Changes one row if the watermark still stands where this writer thinks, else none.
fn move_watermark<'c>(
    connection: &'c AsyncPgConnection,
    shard: Shard,
    epoch: Epoch,
    before: Option<&Position>,
    end: &End,
) -> BoxFuture<'c, QueryResult<usize>> {
    let (shard, epoch, at, id) = (i32::from(shard.0), Id(epoch), At(end.at), end.id.map(Id));
    let (seq, subject) = (end.seq, end.subject.clone());
    match before {
        None => {
            let start: StartWatermark =
                [StartRow { shard, epoch, seq, subject, at, id }].into_iter().collect();
            start.execute(&mut { connection })
        }
        Some(before) => {
            let expected = before.end.seq;
            let row = MoveRow { shard, epoch, expected, seq, subject, at, id };
            let step: MoveWatermark = [row].into_iter().collect();
            step.execute(&mut { connection })
        }
    }
}

/// Inserts those that are new, and says which: their sequences.
fn insert_events<'c>(
    connection: &'c AsyncPgConnection,
    batch: &Batch,
) -> BoxFuture<'c, QueryResult<HashSet<i64>>> {
    if batch.entries.is_empty() {
        return ready(Ok(HashSet::new())).boxed();
    }
    let statement: InsertEvents = batch.entries.iter().map(event_row).collect();
    let new = async move {
        let new: Vec<i64> = statement.load(&mut { connection }).await?;
        Ok(new.into_iter().collect())
    };
    new.boxed()
}

/// The order matters: what updates comes after what inserts, and what deletes comes last.
fn project(connection: &AsyncPgConnection, all: Rows) -> Pipe<'_> {
    let mut pipe = Pipe::new(connection);
    pipe.add(all.visitors.into_values());
    pipe.add(all.conversations.into_values());
    pipe.add(all.threads.into_values());
    pipe.add(all.messages);
    pipe.add(all.assignments);
    pipe.add(all.decisions);
    pipe.add(all.agents.into_values());
    pipe.add(all.marks.into_values());
    pipe.add(all.ratings.into_values());
    pipe.add(all.tags.into_values());
    pipe.add(all.counters.into_values());
    pipe.add(all.touches.into_values());
    pipe.add(all.talk.into_values());
    pipe.add(all.desks.into_values());
    pipe.add(all.assignment_ends);
    pipe.add(all.edits.into_values());
    pipe.add(all.deletions.into_values());
    pipe.add(all.purges);
    pipe.add(all.erasures);
    pipe
}
