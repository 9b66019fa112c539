//! Writing a batch: events, projections and position in one transaction.
//!
//! Invariant: the watermark moves first and by compare-and-set, so of two writers one waits and then writes
//! nothing; only events that were new are projected.

use std::collections::HashSet;

use bus_schema::{Epoch, Shard};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _};

use crate::{
    batch::{Batch, End, Rows, event_row, fold},
    db::{At, DbError, Id},
    rows::{self, EventRow, InsertEvents, MoveRow, StartRow},
};

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
    batch: Batch,
) -> Result<Written, StoreError> {
    let Some(end) = batch.end.clone() else { return Ok(Written::default()) };
    connection
        .transaction(async |connection| {
            if !move_watermark(connection, shard, epoch, before, end).await? {
                return Err(StoreError::LostRace);
            }
            let (parked, repeated) = (batch.parked.len(), batch.repeated);
            rows::write(connection, batch.parked).await?;
            let new = insert_events(connection, batch.entries.iter().map(event_row)).await?;
            let projected = fold(batch.entries.iter().filter(|entry| new.contains(&entry.seq)));
            let unknown = projected.unknown;
            project(connection, projected).await?;
            let repeated = repeated + batch.entries.len() - new.len();
            Ok(Written { new: new.len(), repeated, parked, unknown })
        })
        .await
}

async fn move_watermark(
    connection: &mut AsyncPgConnection,
    shard: Shard,
    epoch: Epoch,
    before: Option<&Position>,
    end: End,
) -> Result<bool, StoreError> {
    let (shard, epoch, at, id) = (i32::from(shard.0), Id(epoch), At(end.at), end.id.map(Id));
    let moved = match before {
        None => {
            let row = StartRow { shard, epoch, seq: end.seq, subject: end.subject, at, id };
            rows::write(connection, [row]).await?
        }
        Some(before) => {
            let expected = before.end.seq;
            let row = MoveRow { shard, epoch, expected, seq: end.seq, subject: end.subject, at, id };
            rows::write(connection, [row]).await?
        }
    };
    Ok(moved == 1)
}

/// Inserts those that are new, and says which: their sequences.
async fn insert_events(
    connection: &mut AsyncPgConnection,
    events: impl Iterator<Item = EventRow>,
) -> Result<HashSet<i64>, StoreError> {
    let mut events = events.peekable();
    if events.peek().is_none() {
        return Ok(HashSet::new());
    }
    let statement: InsertEvents = events.collect();
    let new: Vec<i64> = statement.load(connection).await?;
    Ok(new.into_iter().collect())
}

/// The order matters: what updates comes after what inserts, and what deletes comes last.
async fn project(connection: &mut AsyncPgConnection, all: Rows) -> Result<(), StoreError> {
    rows::write(connection, all.visitors.into_values()).await?;
    rows::write(connection, all.conversations.into_values()).await?;
    rows::write(connection, all.threads.into_values()).await?;
    rows::write(connection, all.messages).await?;
    rows::write(connection, all.assignments).await?;
    rows::write(connection, all.decisions).await?;
    rows::write(connection, all.agents.into_values()).await?;
    rows::write(connection, all.marks.into_values()).await?;
    rows::write(connection, all.ratings.into_values()).await?;
    rows::write(connection, all.tags.into_values()).await?;
    rows::write(connection, all.counters.into_values()).await?;
    rows::write(connection, all.touches.into_values()).await?;
    rows::write(connection, all.talk.into_values()).await?;
    rows::write(connection, all.desks.into_values()).await?;
    rows::write(connection, all.assignment_ends).await?;
    rows::write(connection, all.edits.into_values()).await?;
    rows::write(connection, all.deletions.into_values()).await?;
    rows::write(connection, all.purges).await?;
    rows::write(connection, all.erasures).await?;
    Ok(())
}
