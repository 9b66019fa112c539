//! Reading what a member first gets: the snapshot at the feed's position, and what it missed since its cursor.
//!
//! Invariant: what is replayed is complete from the cursor to the position; what cannot be, or is more than the bounds
//! of a conversation, a connection or the edge allow, is a reset.

use std::{ops::ControlFlow, sync::Arc};

use bus_schema::{
    Audience, Author, ErrorBody, Lane,
    protocol::{Conv, QueueView, ResetReason, ThreadView, VisitorView},
};
use ops::{
    chat::{self, AboveHorizon, Life, Record, Sight, Snapshot, Span},
    log::{Log, ReadError, StoredMsg},
};

use super::{
    Position, Then,
    io::{self, Place},
};
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
        messages: Vec<(Lane, StoredMsg)>,
        /// Given back once the client has them.
        room: Option<Room>,
    },
    Reset(ResetReason),
}

/// What to read.
pub struct Wish {
    pub place: Place,
    pub life: Life,
    pub position: [u64; Lane::ALL.len()],
    pub viewer: Author,
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
    let Wish { place, life, position, viewer, .. } = wish;
    let Place { home, audience } = *place;
    let visitor = life.state.visitor_id;
    let sight = Sight { home, audience, life, position, viewer: *viewer, horizon };
    let (snapshot, record, missed, queue) = tokio::join!(
        chat::snapshot(log, &sight),
        chat::record(log, home.tenant, visitor),
        missed(core, log, wish, horizon),
        place_of(log, wish),
    );
    let (snapshot, record, missed) = (snapshot?, record?, missed?);
    let visitor_name = record.record.name.clone();
    let online = wish.visitor_online || *viewer == Author::visitor(visitor);
    let authors = snapshot.authors.iter().copied().collect();
    let mut conv = conv(place, life, snapshot, record, online);
    if let Some(thread) = &mut conv.thread {
        thread.queue = queue;
    }
    Ok(Content { conv, authors, visitor_name, missed })
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
        unread: snapshot.unread,
        marks: snapshot.marks,
    }
}

async fn missed(core: &Core, log: &Log, wish: &Wish, horizon: u64) -> Result<Option<Missed>, ErrorBody> {
    let Some(Resume { position: from, conn }) = &wish.resume else { return Ok(None) };
    let from = match *from {
        Position::Lost(reason) => return Ok(Some(Missed::Reset(reason))),
        Position::At(from) => from,
    };
    let lanes = wish.place.audience.lanes();
    let end = wish.position.iter().copied().max().unwrap_or(0);
    let begin = lanes.iter().map(|lane| from[lane.index()]).min().unwrap_or(0) + 1;
    if lanes.iter().any(|lane| from[lane.index()] > end) {
        return Ok(Some(Missed::Reset(ResetReason::Ahead)));
    }
    if begin < horizon {
        return Ok(Some(Missed::Reset(ResetReason::TooOld)));
    }
    if begin > end {
        return Ok(Some(Missed::Events { from, messages: Vec::new(), room: None }));
    }
    // No room in time: a snapshot is smaller than what may have been missed.
    let Some(mut room) = core.catch_ups.room(MISSED_BYTES_MAX).await else {
        return Ok(Some(Missed::Reset(ResetReason::TooMuch)));
    };
    let filter = wish.place.home.stored(wish.place.audience);
    let (mut messages, mut bytes, mut too_many) = (Vec::new(), 0, false);
    let read = chat::slice(log, &filter, Span::new(begin, end), |message| {
        let Some(entry) = io::entry(message) else { return ControlFlow::Continue(()) };
        let lane = entry.lane.index();
        if entry.seq > from[lane] && entry.seq <= wish.position[lane] {
            let cost = entry.item.payload.len() + FRAME_COST;
            bytes += cost;
            too_many = messages.len() >= MISSED_MAX || bytes > MISSED_BYTES_MAX || !conn.may_replay(cost);
            if too_many {
                return ControlFlow::Break(());
            }
            messages.push((entry.lane, entry.item));
        }
        ControlFlow::Continue(())
    });
    read.await.map_err(|error: ReadError| {
        tracing::warn!(%error, "what a client missed cannot be read");
        ErrorBody::from(bus_schema::ErrorCode::Unavailable)
    })?;
    if too_many {
        return Ok(Some(Missed::Reset(ResetReason::TooMuch)));
    }
    room.shrink(bytes);
    Ok(Some(Missed::Events { from, messages, room: Some(room) }))
}
