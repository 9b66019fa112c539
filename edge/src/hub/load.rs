//! Reading what a member first gets: the snapshot at the feed's position, and what it missed since its cursor.

use bus_schema::{
    Audience, Author, ErrorBody, Lane,
    protocol::{Conv, ResetReason, ThreadView, VisitorView},
};
use ops::{
    chat::{self, EventsPast, Life, Record, Snapshot},
    log::{Log, ReadError, StoredMsg},
};

use super::{
    Then,
    io::{self, Place},
};

/// Missed events that are replayed; more is a reset.
const MISSED_MAX: usize = 1_000;
const MISSED_BYTES_MAX: usize = 1024 * 1024;

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

/// What a client that resumes gets.
pub enum Missed {
    Events { from: [u64; Lane::ALL.len()], messages: Vec<(Lane, StoredMsg)> },
    Reset(ResetReason),
}

/// What to read.
pub struct Wish {
    pub place: Place,
    pub life: Life,
    pub position: [u64; Lane::ALL.len()],
    pub viewer: Author,
    pub resume: Option<super::Position>,
    pub visitor_online: bool,
}

/// Reads it all; the conversation's cursor is set by the caller, who knows the principal.
pub async fn content(log: &Log, wish: &Wish) -> Result<Content, ErrorBody> {
    let Wish { place, life, position, viewer, .. } = wish;
    let home = place.home;
    let visitor = life.state.visitor_id;
    let (snapshot, record, missed) = tokio::join!(
        chat::snapshot(log, home, place.audience, life, position, *viewer),
        chat::record(log, home.tenant, visitor),
        missed(log, wish),
    );
    let (snapshot, record, missed) = (snapshot?, record?, missed?);
    let visitor_name = record.record.name.clone();
    let online = wish.visitor_online || *viewer == Author::visitor(visitor);
    let authors = snapshot.authors.iter().copied().collect();
    Ok(Content { conv: conv(place, life, snapshot, record, online), authors, visitor_name, missed })
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
            tags: (place.audience == Audience::Staff).then(Vec::new),
        }),
        events: Some(snapshot.events),
        has_more: snapshot.has_more,
        cursor: None,
        unread: snapshot.unread,
        marks: snapshot.marks,
    }
}

async fn missed(log: &Log, wish: &Wish) -> Result<Option<Missed>, ErrorBody> {
    let from = match wish.resume {
        None => return Ok(None),
        Some(super::Position::Lost(reason)) => return Ok(Some(Missed::Reset(reason))),
        Some(super::Position::At(from)) => from,
    };
    let lanes = wish.place.audience.lanes();
    let end = wish.position.iter().copied().max().unwrap_or(0);
    if lanes.iter().any(|lane| from[lane.index()] > end) {
        return Ok(Some(Missed::Reset(ResetReason::Ahead)));
    }
    let begin = lanes.iter().map(|lane| from[lane.index()]).min().unwrap_or(0) + 1;
    let filter = wish.place.home.stored(wish.place.audience);
    let (mut messages, mut bytes, mut too_many) = (Vec::new(), 0, false);
    let read = chat::slice(log, &filter, begin, end, EventsPast::Drop, |message| {
        let Some(entry) = io::entry(message) else { return };
        let lane = entry.lane.index();
        if entry.seq > from[lane] && entry.seq <= wish.position[lane] {
            bytes += entry.item.payload.len();
            too_many |= messages.len() >= MISSED_MAX || bytes > MISSED_BYTES_MAX;
            if !too_many {
                messages.push((entry.lane, entry.item));
            }
        }
    });
    read.await.map_err(|error: ReadError| {
        tracing::warn!(%error, "what a client missed cannot be read");
        ErrorBody::from(bus_schema::ErrorCode::Unavailable)
    })?;
    Ok(Some(if too_many { Missed::Reset(ResetReason::TooMuch) } else { Missed::Events { from, messages } }))
}
