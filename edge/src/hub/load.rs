//! Reading what a member first gets: the snapshot at the feed's position, and what it missed since its cursor.
//!
//! Invariant: what is replayed is complete from the cursor to the position; what cannot be, or is more than the bounds
//! of a conversation, a connection or the edge allow, is a reset.

use std::{collections::BTreeSet, ops::ControlFlow, sync::Arc};

use bus_schema::{
    Audience, Author, ErrorBody, Lane,
    protocol::{Conv, QueueView, ResetReason, ThreadView, VisitorView},
    tally::{Fact, Tally},
};
use ops::{
    chat::{self, AboveHorizon, Found, Life, Record, Sight, Snapshot, Span},
    log::{Log, ReadError, StoredMsg},
};

use super::{Position, Then, io::Place};
use crate::{catch_up::Room, conn::Conn, core::Core};

/// Missed events that are replayed; more is a reset.
const MISSED_MAX: usize = 1_000;
const MISSED_BYTES_MAX: usize = 1024 * 1024;
/// What an event takes beside its stored bytes: the frame, the cursor, the queue.
const FRAME_COST: usize = 256;

/// What was read for one member.
pub struct Loaded {
    pub then: Then,
    pub result: Result<Content, ErrorBody>,
}

/// A conversation at a position.
pub struct Content {
    pub conv: Conv,
    /// What the thread comes to there, where it is known.
    pub tally: Option<Tally>,
    pub authors: Vec<Author>,
    pub visitor_name: Option<String>,
    pub missed: Option<Missed>,
}

impl Content {
    /// Where the thread waits.
    pub fn queue(&self) -> Option<QueueView> {
        self.conv.thread.as_ref()?.queue
    }
}

/// What a client that resumes gets.
pub enum Missed {
    Events {
        from: [u64; Lane::ALL.len()],
        /// What the client had come to.
        tally: Option<Tally>,
        entries: Vec<Entry>,
        /// Given back once the client has them.
        room: Option<Room>,
    },
    Reset(ResetReason),
}

/// An event that a client missed.
pub struct Entry {
    pub lane: Lane,
    pub message: StoredMsg,
    /// The client has a later one, of another lane, already.
    pub late: bool,
    /// What it changes of what the client has come to.
    fact: Fact,
}

impl Entry {
    /// What is replayed to one who is at `from`, in this order.
    fn all(from: &[u64; Lane::ALL.len()], messages: Vec<(Lane, StoredMsg)>) -> Vec<Self> {
        let mut highest = from.iter().copied().max().unwrap_or(0);
        let entry = |(lane, message): (Lane, StoredMsg)| {
            let late = message.seq < highest;
            highest = highest.max(message.seq);
            let fact = chat::fact(lane, message.seq, &message.payload, late);
            Self { lane, message, late, fact }
        };
        messages.into_iter().map(entry).collect()
    }
}

/// Where a client is that is replayed what it missed.
pub struct ReaderAt {
    pub position: [u64; Lane::ALL.len()],
    /// What it has come to.
    pub tally: Option<Tally>,
    pub reader: Option<Author>,
}

impl ReaderAt {
    /// It gets the next one.
    pub fn gets(&mut self, entry: &Entry) {
        let Entry { lane, message, fact, .. } = entry;
        self.position[lane.index()] = message.seq;
        self.tally = self.tally.take().and_then(|tally| tally.with(self.reader, message.seq, *fact));
    }
}

/// What to read.
pub struct Wish {
    pub place: Place,
    pub life: Life,
    pub position: [u64; Lane::ALL.len()],
    /// Where the lanes end there, where it is known.
    pub ends: Option<Vec<(Lane, u64)>>,
    pub viewer: Author,
    /// For whom messages count as unread.
    pub reader: Option<Author>,
    pub resume: Option<Resume>,
    pub visitor_online: bool,
    /// The thread's place in its queue, where it was told.
    pub queue: Option<QueueView>,
}

/// Who resumes, and from where.
pub struct Resume {
    pub position: Position,
    pub conn: Arc<Conn>,
}

/// Reads it all; the conversation's cursor is set by the caller, who knows the principal.
pub async fn content(core: &Core, log: &Log, wish: &Wish) -> Result<Content, ErrorBody> {
    let mut reads = AboveHorizon::new(log);
    loop {
        let horizon = reads.begin()?;
        let found = read(core, log, wish, horizon).await?;
        if reads.stands(horizon).await? {
            return Ok(found);
        }
    }
}

async fn read(core: &Core, log: &Log, wish: &Wish, horizon: u64) -> Result<Content, ErrorBody> {
    let Wish { place, life, viewer, .. } = wish;
    let home = place.home;
    let visitor = life.state.visitor_id;
    // One after the other, so that what is on its way for one client stays small.
    let thread = async {
        let missed = missed(core, log, wish, horizon).await?;
        let snapshot = snapshot(log, wish, horizon, missed.as_ref()).await?;
        Ok::<_, ErrorBody>((missed, snapshot))
    };
    let (thread, record, queue) =
        tokio::join!(thread, chat::record(log, home.tenant, visitor), place_of(log, wish));
    let ((missed, snapshot), record) = (thread?, record?);
    let visitor_name = record.record.name.clone();
    let online = wish.visitor_online || *viewer == Author::visitor(visitor);
    let authors = snapshot.authors.iter().copied().collect();
    let tally = snapshot.is_whole.then(|| Tally {
        started_seq: life.started_seq(),
        marks: snapshot.marks.clone(),
        unread: snapshot.unread.clone(),
        has_more: snapshot.has_more,
    });
    let mut conv = conv(place, life, snapshot, record, online);
    if let Some(thread) = &mut conv.thread {
        thread.queue = queue;
    }
    Ok(Content { conv, tally, authors, visitor_name, missed })
}

/// The thread at the position. Who is replayed what it missed has the events before, and where its cursor says what it
/// had come to, neither the log nor the read model is asked for that.
async fn snapshot(
    log: &Log,
    wish: &Wish,
    horizon: u64,
    missed: Option<&Missed>,
) -> Result<Snapshot, ErrorBody> {
    let Wish { place: Place { home, audience }, life, position, viewer, .. } = wish;
    let (home, audience) = (*home, *audience);
    if let Some(tally) = missed.and_then(|missed| missed.comes_to(wish)) {
        let tags = match audience {
            Audience::Staff => chat::tags_until(log, home, life, position[Lane::Note.index()]).await?,
            Audience::All => BTreeSet::new(),
        };
        let Tally { marks, unread, has_more, .. } = tally;
        return Ok(Snapshot { has_more, unread, marks, tags, is_whole: true, ..Snapshot::default() });
    }
    let events = !matches!(missed, Some(Missed::Events { .. }));
    let sight = Sight { home, audience, life, position, viewer: *viewer, horizon, events };
    chat::snapshot(log, &sight).await
}

impl Missed {
    /// What the thread comes to with what was missed, if what it came to before is known.
    fn comes_to(&self, wish: &Wish) -> Option<Tally> {
        let Missed::Events { tally: Some(tally), entries, .. } = self else { return None };
        let with = |tally: Tally, entry: &Entry| tally.with(wish.reader, entry.message.seq, entry.fact);
        let whole = entries.iter().try_fold(tally.clone(), with)?;
        (whole.started_seq == wish.life.started_seq()).then_some(whole)
    }
}

/// Where the thread waits: as was told here, else as the router says.
async fn place_of(log: &Log, wish: &Wish) -> Option<QueueView> {
    match wish.queue {
        None => crate::desk::place(log, wish.place.home, &wish.life.state).await,
        known => known,
    }
}

/// The shape that clients get, without a cursor.
pub fn conv(place: &Place, life: &Life, snapshot: Snapshot, record: Record, online: bool) -> Conv {
    let state = &life.state;
    let record = record.record;
    Conv {
        id: place.home.conversation,
        visitor: VisitorView {
            id: state.visitor_id,
            name: record.name,
            email: record.email,
            custom: Some(record.custom).filter(|custom| !custom.is_empty()),
            online,
        },
        thread: Some(ThreadView {
            id: state.thread_id,
            status: state.status,
            group_id: state.group_id,
            assignee_id: state.assignee_id,
            started_at: state.started_at,
            queue: None,
            tags: (place.audience == Audience::Staff).then(|| snapshot.tags.into_iter().collect()),
        }),
        events: Some(snapshot.events),
        has_more: snapshot.has_more,
        cursor: None,
        unread: snapshot.unread.len() as u64,
        marks: snapshot.marks,
    }
}

async fn missed(core: &Core, log: &Log, wish: &Wish, horizon: u64) -> Result<Option<Missed>, ErrorBody> {
    let Some(Resume { position: from, conn }) = &wish.resume else { return Ok(None) };
    let reset = |reason| Ok(Some(Missed::Reset(reason)));
    let (from, tally) = match from {
        Position::Lost(reason) => return reset(*reason),
        Position::At(from, tally) => (*from, tally.as_deref().cloned()),
    };
    let Place { home, audience } = wish.place;
    let lanes = audience.lanes();
    let end = wish.position.iter().copied().max().unwrap_or(0);
    if lanes.iter().any(|lane| from[lane.index()] > end) {
        return reset(ResetReason::Ahead);
    }
    if lanes.iter().any(|lane| from[lane.index()] + 1 < horizon) {
        return reset(ResetReason::TooOld);
    }
    let moved: Vec<Lane> =
        lanes.iter().copied().filter(|lane| wish.position[lane.index()] > from[lane.index()]).collect();
    if moved.is_empty() {
        return Ok(Some(Missed::Events { from, tally, entries: Vec::new(), room: None }));
    }
    // No room in time: a snapshot is smaller than what may have been missed.
    let Some(mut room) = core.catch_ups.room(MISSED_BYTES_MAX).await else {
        return reset(ResetReason::TooMuch);
    };
    let mut gap = Gap::default();
    // The position of a lane without anything new is where the others are.
    let ends = match &wish.ends {
        Some(known) => known.clone(),
        None => chat::ends(log, home, &moved).await.map_err(|error| unreadable(&error))?,
    };
    // Each lane from where it was: most of what lies between them, the client has.
    for (lane, end) in ends.into_iter().filter(|(lane, _)| moved.contains(lane)) {
        let span = Span::new(from[lane.index()] + 1, end.min(wish.position[lane.index()]));
        gap.read(log, wish, lane, span).await?;
        if gap.too_much {
            break;
        }
    }
    if gap.too_much || !conn.may_replay(gap.bytes) {
        return reset(ResetReason::TooMuch);
    }
    room.shrink(gap.bytes);
    gap.messages.sort_unstable_by_key(|(_, message)| message.seq);
    let entries = Entry::all(&from, gap.messages);
    Ok(Some(Missed::Events { from, tally, entries, room: Some(room) }))
}

fn unreadable(error: &ReadError) -> ErrorBody {
    tracing::warn!(%error, "what a client missed cannot be read");
    bus_schema::ErrorCode::Unavailable.into()
}

/// What was missed, as far as it is read.
#[derive(Default)]
struct Gap {
    messages: Vec<(Lane, StoredMsg)>,
    bytes: usize,
    too_much: bool,
}

impl Gap {
    /// Reads a lane, unless there is too much already, or would be with what still comes.
    async fn read(&mut self, log: &Log, wish: &Wish, lane: Lane, span: Span) -> Result<(), ErrorBody> {
        let filter = wish.place.home.lane(lane).to_string();
        let before = (self.messages.len(), self.bytes);
        let each = |found| match found {
            Found::Message(message) => self.take(lane, message),
            Found::Ahead(pending) => self.look_ahead(before, pending),
        };
        chat::slice_ahead(log, &filter, span, each).await.map_err(|error| unreadable(&error))
    }

    fn take(&mut self, lane: Lane, message: StoredMsg) -> ControlFlow<()> {
        self.bytes += message.payload.len() + FRAME_COST;
        self.messages.push((lane, message));
        self.decide(self.messages.len(), self.bytes)
    }

    /// So many follow in this lane, about as long as those since `before`.
    fn look_ahead(&mut self, before: (usize, usize), pending: u64) -> ControlFlow<()> {
        let pending = usize::try_from(pending).unwrap_or(usize::MAX);
        let each = (self.bytes - before.1) / (self.messages.len() - before.0).max(1);
        let messages = self.messages.len().saturating_add(pending);
        self.decide(messages, self.bytes.saturating_add(pending.saturating_mul(each)))
    }

    const fn decide(&mut self, messages: usize, bytes: usize) -> ControlFlow<()> {
        self.too_much |= messages > MISSED_MAX || bytes > MISSED_BYTES_MAX;
        if self.too_much { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus_schema::Timestamp;

    fn message(seq: u64, bytes: usize) -> StoredMsg {
        let payload = vec![b'x'; bytes].into();
        let (subject, headers) = (String::new(), async_nats::HeaderMap::new());
        StoredMsg { subject, seq, at: Timestamp::from_millis(0), headers, payload }
    }

    #[test]
    fn a_gap_is_too_much_as_soon_as_it_shows() {
        let mut gap = Gap::default();
        for seq in 1..=10 {
            assert!(gap.take(Lane::Msg, message(seq, 16_000)).is_continue());
        }
        assert!(gap.look_ahead((0, 0), 50).is_continue());
        assert!(
            gap.look_ahead((0, 0), 100).is_break(),
            "as long as those before, it is more than a megabyte"
        );
        assert!(gap.too_much);
        let mut short = Gap::default();
        assert!(short.take(Lane::Msg, message(1, 100)).is_continue());
        assert!(short.look_ahead((0, 0), MISSED_MAX as u64 - 1).is_continue());
        assert!(short.look_ahead((0, 0), MISSED_MAX as u64).is_break());
    }

    #[test]
    fn one_order_says_late_of_what_a_lane_missed_while_another_went_on() {
        let mut from = [5; Lane::ALL.len()];
        from[Lane::Msg.index()] = 10;
        let replayed = [(Lane::Mark, 9), (Lane::Life, 7), (Lane::Msg, 11), (Lane::Life, 12)];
        let messages = replayed.map(|(lane, seq)| (lane, message(seq, 2))).to_vec();
        let entries = Entry::all(&from, messages);
        let late: Vec<bool> = entries.iter().map(|entry| entry.late).collect();
        assert_eq!(late, [true, true, false, false]);
        let mut client = ReaderAt { position: from, tally: Some(Tally::default()), reader: None };
        let known = entries.iter().map(|entry| {
            client.gets(entry);
            client.tally.is_some()
        });
        let known: Vec<bool> = known.collect();
        assert_eq!(known, [true, false, false, false], "a state that is late may begin a thread");
        assert_eq!((client.position[Lane::Life.index()], client.position[Lane::Msg.index()]), (12, 11));
    }

    #[test]
    fn lanes_share_the_bounds() {
        let mut gap = Gap::default();
        for seq in 0..MISSED_MAX as u64 {
            assert!(
                gap.take(if seq % 2 == 0 { Lane::Msg } else { Lane::Mark }, message(seq, 10)).is_continue()
            );
        }
        assert!(gap.take(Lane::Life, message(MISSED_MAX as u64, 10)).is_break());
    }
}
