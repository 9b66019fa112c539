//! Several statements on their way at once: one wait for all answers instead of one for each.
//!
//! Invariant: they run in the order in which they were added. The futures are first polled in that order; each sends
//! its statement at its first poll, or queues for the lock on the prepared statements, which is handed on in the order
//! of asking.

use diesel::QueryResult;
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use futures::future::{BoxFuture, join_all};

use super::Row;

/// Statements for one connection, inside a transaction: once one fails, those behind it do nothing.
pub struct Pipe<'c> {
    connection: &'c AsyncPgConnection,
    waiting: Vec<BoxFuture<'c, QueryResult<usize>>>,
}

impl<'c> Pipe<'c> {
    pub fn new(connection: &'c AsyncPgConnection) -> Self {
        Self { connection, waiting: Vec::new() }
    }

    /// One statement that writes `rows`, or none if there are none.
    pub fn add<R, I>(&mut self, rows: I)
    where
        R: Row,
        I: IntoIterator<Item = R>,
    {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return;
        }
        let statement: R::Statement = rows.collect();
        self.waiting.push(statement.execute(&mut { self.connection }));
    }

    /// Runs them; how many there were. Fails as the first that failed.
    pub async fn run(self) -> QueryResult<usize> {
        let done = join_all(self.waiting).await;
        let count = done.len();
        done.into_iter().collect::<QueryResult<Vec<_>>>()?;
        Ok(count)
    }
}
