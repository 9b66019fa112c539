//! A conversation's messages from a sequence down, whichever lanes they are on.
//!
//! Invariant: they come in falling order and none is left out: before one is given, the next of every other lane is
//! known, or that lane is over.

use bus_schema::{Audience, Lane, subject::ConversationSubjects};

use super::{back::Back, lanes::parts};
use crate::log::{Log, ReadError, StoredMsg};

/// A way down.
#[derive(Debug)]
pub(super) struct Descent<'a> {
    ways: Vec<Way<'a>>,
    /// Messages that are read at a time of each lane.
    want: usize,
}

#[derive(Debug)]
struct Way<'a> {
    back: Back<'a>,
    /// Read and not given yet, ascending.
    found: Vec<StoredMsg>,
}

impl<'a> Descent<'a> {
    /// From `up_to` down to `floor`; the leader has said that something at or above `up_to` exists.
    pub async fn new(
        log: &'a Log,
        home: ConversationSubjects,
        lanes: (Audience, &[Lane]),
        (floor, up_to): (u64, u64),
        want: usize,
    ) -> Result<Self, ReadError> {
        let parts = parts(log, home, lanes, (floor, up_to)).await?;
        let way = |part| Way { back: Back::new(log, part), found: Vec::new() };
        Ok(Self { ways: parts.into_iter().map(way).collect(), want })
    }

    /// That was all.
    pub async fn is_over(&mut self) -> Result<bool, ReadError> {
        self.fill().await?;
        Ok(self.ways.iter().all(|way| way.found.is_empty()))
    }

    /// The next older message; none: that was all.
    pub async fn next(&mut self) -> Result<Option<StoredMsg>, ReadError> {
        self.fill().await?;
        let next = self.ways.iter_mut().max_by_key(|way| way.found.last().map(|message| message.seq));
        Ok(next.and_then(|way| way.found.pop()))
    }

    async fn fill(&mut self) -> Result<(), ReadError> {
        let want = self.want;
        let dry = self.ways.iter_mut().filter(|way| way.found.is_empty());
        futures::future::try_join_all(dry.map(|way| way.fill(want))).await.map(|_| ())
    }
}

impl Way<'_> {
    async fn fill(&mut self, want: usize) -> Result<(), ReadError> {
        while self.found.is_empty() && !self.back.is_over() {
            self.found = self.back.piece(want).await?;
        }
        Ok(())
    }
}
