//! A conversation from a position down, wherever it is kept: the log, as far as a search of it is cheap; then the read
//! model, where it holds everything from there down; else the log down to its horizon, and the read model below it.
//!
//! Invariant: what comes is the same either way, in falling order, with nothing left out and nothing twice: a source
//! begins right below where the one before it ended.

use std::{collections::VecDeque, time::Duration};

use bus_schema::{
    Audience, ErrorBody, Lane, Subject,
    limits::PAGE_MAX,
    splice::{splice, spliced_len},
    subject::ConversationSubjects,
};
use serde_json::value::RawValue;

use super::{
    descent::Descent,
    past::{Past, SEARCH_INSTEAD, Shown},
    unreadable,
};
use crate::log::{Log, ReadError, StoredMsg};

/// What to go down.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach<'a> {
    pub log: &'a Log,
    pub home: ConversationSubjects,
    pub audience: Audience,
    /// Those that are wanted; others may come as well.
    pub lanes: &'a [Lane],
    /// Where it ends.
    pub first: u64,
    /// The first sequence that the log has whole.
    pub horizon: u64,
    /// Where it begins; the leader has said that something at or above it exists.
    pub up_to: u64,
    /// Up to here it is told whole by whatever knows it; above, a lane may be known less far.
    pub settled: u64,
}

/// A way down.
#[derive(Debug)]
pub(super) struct Older<'a> {
    reach: Reach<'a>,
    /// Messages of each lane that are read at a time.
    want: usize,
    /// How long the read model has where the log does not go.
    wait: Duration,
    /// Everything from here on was given, or is in `stage`.
    below: u64,
    stage: Stage<'a>,
}

#[derive(Debug)]
enum Stage<'a> {
    /// The log as far as it is cheap.
    Near(Descent<'a>),
    /// The read model, instead of the log.
    Instead(Past<'a>, VecDeque<Shown>),
    /// The rest of the log.
    Far(Descent<'a>),
    /// The read model, where the log does not go.
    Beyond(Past<'a>, VecDeque<Shown>),
}

/// Why it cannot go on.
#[derive(Debug)]
pub(super) enum Stop {
    Log(ReadError),
    /// The log does not go further, and the read model does not answer.
    Model(ErrorBody),
}

/// An event, from either.
#[derive(Debug)]
pub(super) enum Item {
    Stored(StoredMsg),
    Shown(Shown),
}

impl<'a> Older<'a> {
    pub async fn new(reach: Reach<'a>, want: usize, wait: Duration) -> Result<Self, ReadError> {
        // Where all of it lies below the horizon, the read model begins where it begins.
        let below = reach.near().max(reach.bottom()).min(reach.up_to.saturating_add(1));
        let stage = Stage::Near(reach.descent((below, reach.up_to), want).await?);
        Ok(Self { reach, want, wait, below, stage })
    }

    /// Whether what comes next must be asked of somebody else; below what sequence.
    pub async fn must_ask_below(&mut self) -> Result<Option<u64>, Stop> {
        let Stage::Near(descent) = &mut self.stage else { return Ok(None) };
        let is_over = descent.is_over().await.map_err(Stop::Log)?;
        Ok((is_over && self.below > self.reach.first).then_some(self.below))
    }

    /// The next older event; none: that was all.
    pub async fn next(&mut self) -> Result<Option<Item>, Stop> {
        loop {
            let Reach { first, horizon, .. } = self.reach;
            let bottom = self.reach.bottom();
            let is_beyond = matches!(self.stage, Stage::Beyond(..));
            match &mut self.stage {
                Stage::Near(descent) | Stage::Far(descent) => {
                    if let Some(message) = descent.next().await.map_err(Stop::Log)? {
                        return Ok(Some(Item::Stored(message)));
                    }
                }
                Stage::Instead(past, found) | Stage::Beyond(past, found) => {
                    if let Some(shown) = found.pop_back() {
                        return Ok(Some(Item::Shown(shown)));
                    }
                    if self.below <= first {
                        return Ok(None);
                    }
                    match past.before(self.below, PAGE_MAX).await {
                        Ok((older, has_more)) => {
                            let lowest = older.first().filter(|_| has_more).map(|shown| shown.seq);
                            self.below = lowest.unwrap_or(first);
                            found.extend(older.into_iter().filter(|shown| shown.seq >= first));
                            continue;
                        }
                        Err(error) if is_beyond => return Err(Stop::Model(error)),
                        Err(error) => {
                            tracing::debug!(%error, "the log is searched instead of the read model")
                        }
                    }
                }
            }
            // That source is done.
            self.stage = match &self.stage {
                _ if self.below <= first => return Ok(None),
                Stage::Near(_) if self.below > bottom => {
                    Stage::Instead(self.past(SEARCH_INSTEAD), VecDeque::new())
                }
                Stage::Instead(..) if self.below > bottom => {
                    let span = (bottom, self.below - 1);
                    self.below = bottom;
                    Stage::Far(self.reach.descent(span, self.want).await.map_err(Stop::Log)?)
                }
                Stage::Near(_) | Stage::Instead(..) | Stage::Far(_) if self.below <= horizon => {
                    Stage::Beyond(self.past(self.wait), VecDeque::new())
                }
                _ => return Ok(None),
            };
        }
    }

    fn past(&self, wait: Duration) -> Past<'a> {
        let Reach { log, home, audience, horizon, .. } = self.reach;
        Past::new(log, home, audience, horizon, wait)
    }
}

impl<'a> Reach<'a> {
    /// Down to here the log is searched whoever else could answer.
    pub fn near(&self) -> u64 {
        let searched = self.up_to.saturating_add(1).saturating_sub(self.log.search_max());
        // A lane that is known less far than the others is read from the log, where its end is seen.
        searched.min(self.settled.saturating_add(1))
    }

    /// Down to here the log goes.
    fn bottom(&self) -> u64 {
        self.first.max(self.horizon).max(1)
    }

    async fn descent(&self, span: (u64, u64), want: usize) -> Result<Descent<'a>, ReadError> {
        Descent::new(self.log, self.home, (self.audience, self.lanes), span, want).await
    }
}

impl Item {
    pub const fn seq(&self) -> u64 {
        match self {
            Self::Stored(message) => message.seq,
            Self::Shown(shown) => shown.seq,
        }
    }

    /// Where the source says it.
    pub fn lane(&self) -> Option<Lane> {
        match self {
            Self::Stored(message) => Some(Subject::parse(&message.subject).ok()?.conversation()?.1),
            Self::Shown(_) => None,
        }
    }

    /// Its fields.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Stored(message) => &message.payload,
            Self::Shown(shown) => shown.event.get().as_bytes(),
        }
    }

    /// Bytes as readers see it.
    pub fn len(&self) -> usize {
        match self {
            Self::Stored(message) => spliced_len(message.seq, &message.payload),
            Self::Shown(shown) => shown.event.get().len(),
        }
    }

    /// As readers see it; none for bytes that are no JSON, which the log never holds.
    pub fn event(self) -> Option<Box<RawValue>> {
        match self {
            Self::Stored(message) => raw(&message),
            Self::Shown(shown) => Some(shown.event),
        }
    }
}

/// A stored event as readers see it.
pub(super) fn raw(message: &StoredMsg) -> Option<Box<RawValue>> {
    let bytes = splice(message.seq, message.at, &message.payload);
    String::from_utf8(bytes).ok().and_then(|text| RawValue::from_string(text).ok())
}

impl From<Stop> for ErrorBody {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Log(error) => unreadable(&error),
            Stop::Model(error) => error,
        }
    }
}
