//! A conversation as a reader first sees it: the thread's latest events, marks and unread count at one position.
//!
//! Invariant: it holds exactly what lies at or below its position in each lane, so that what comes after the
//! position completes it without a hole or a double.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bus_schema::{
    Audience, Author, ErrorBody, Lane, Subject, event::Kind, limits::SNAPSHOT_EVENTS_MAX, protocol::MarkView,
    splice::splice, subject::ConversationSubjects,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{EventsPast, Head, Life, slice, unreadable};
use crate::log::{Log, StoredMsg};

/// The ends of an audience's lanes, from the leader: everything acknowledged before is at or below them.
#[derive(Debug, Clone, Default)]
pub struct Tail {
    pub lanes: Vec<(Lane, u64)>,
    pub life: Option<Life>,
}

impl Tail {
    /// Highest sequence of any lane.
    pub fn end(&self) -> u64 {
        self.lanes.iter().map(|(_, seq)| *seq).max().unwrap_or(0)
    }
}

/// What there is of a conversation at a position.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// At most 50 of the thread, oldest first, as readers see them.
    pub events: Vec<Box<RawValue>>,
    pub has_more: bool,
    pub unread: u64,
    pub marks: Vec<MarkView>,
    /// Who wrote the events.
    pub authors: BTreeSet<Author>,
}

/// Reads the ends of the lanes from the leader. `life` comes last: a state that is older than another lane's end could
/// be one that was over by then, and whoever takes that end as a position is never told of the change.
pub async fn tail(log: &Log, home: ConversationSubjects, audience: Audience) -> Result<Tail, ErrorBody> {
    let others = audience.lanes().iter().filter(|lane| **lane != Lane::Life).map(|lane| {
        let subject = home.lane(*lane).to_string();
        async move { log.last(&subject).await.map(|message| message.map(|message| (*lane, message.seq))) }
    });
    let mut found = Tail::default();
    for read in futures::future::join_all(others).await {
        found.lanes.extend(read.map_err(|error| unreadable(&error))?);
    }
    found.life = super::life(log, home).await?;
    found.lanes.extend(found.life.as_ref().map(|life| (Lane::Life, life.seq)));
    Ok(found)
}

/// The thread of `life` as `viewer` sees it at `position` (last sequence of each lane, by index).
pub async fn snapshot(
    log: &Log,
    home: ConversationSubjects,
    audience: Audience,
    life: &Life,
    position: &[u64; Lane::ALL.len()],
    viewer: Author,
) -> Result<Snapshot, ErrorBody> {
    let up_to = position.iter().copied().max().unwrap_or(0);
    let mut gathered = Gathered::default();
    slice(log, &home.stored(audience), life.started_seq(), up_to, EventsPast::Drop, |message| {
        let lane = Subject::parse(&message.subject).ok().and_then(Subject::conversation);
        if let Some((_, lane)) = lane
            && message.seq <= position[lane.index()]
        {
            gathered.take(lane, message);
        }
    })
    .await
    .map_err(|error| unreadable(&error))?;
    Ok(gathered.finish(life, viewer))
}

#[derive(Default)]
struct Gathered {
    last: VecDeque<StoredMsg>,
    dropped: bool,
    /// Sequence and author of what counts as unread.
    said: Vec<(u64, Author)>,
    marks: BTreeMap<Author, (u64, u64)>,
}

#[derive(Deserialize)]
struct UpTo {
    up_to_seq: u64,
}

impl Gathered {
    fn take(&mut self, lane: Lane, message: StoredMsg) {
        // What cannot be read is still shown: readers ignore what they do not know.
        if let Ok(head) = Head::decode(&message.payload) {
            match head.kind() {
                Some(kind @ (Kind::Delivered | Kind::Read)) => {
                    let up_to =
                        serde_json::from_str::<UpTo>(head.data.get()).map_or(0, |data| data.up_to_seq);
                    let (delivered, read) = self.marks.entry(head.author).or_default();
                    let mark = if kind == Kind::Read { read } else { delivered };
                    *mark = (*mark).max(up_to);
                }
                Some(kind) if kind.counts_as_unread() => self.said.push((message.seq, head.author)),
                Some(_) | None => {}
            }
        }
        if lane == Lane::Mark {
            return;
        }
        if self.last.len() == SNAPSHOT_EVENTS_MAX {
            self.last.pop_front();
            self.dropped = true;
        }
        self.last.push_back(message);
    }

    fn finish(self, life: &Life, viewer: Author) -> Snapshot {
        let read = self.marks.get(&viewer).map_or(0, |(_, read)| *read);
        let unread = match takes_part(life, viewer) {
            true => self.said.iter().filter(|(seq, author)| *seq > read && *author != viewer).count(),
            false => 0,
        };
        let authors = self
            .last
            .iter()
            .filter_map(|message| Head::decode(&message.payload).ok())
            .map(|head| head.author)
            .collect();
        Snapshot {
            events: self.last.iter().filter_map(raw).collect(),
            has_more: self.dropped || life.state.previous_thread_id.is_some(),
            unread: unread as u64,
            marks: self
                .marks
                .into_iter()
                .map(|(author, (delivered, read))| MarkView { author, delivered, read })
                .collect(),
            authors,
        }
    }
}

/// An event as readers see it; none for bytes that are no JSON, which the log never holds.
pub(super) fn raw(message: &StoredMsg) -> Option<Box<RawValue>> {
    let bytes = splice(message.seq, message.at, &message.payload);
    String::from_utf8(bytes).ok().and_then(|text| RawValue::from_string(text).ok())
}

fn takes_part(life: &Life, viewer: Author) -> bool {
    let state = &life.state;
    viewer == Author::visitor(state.visitor_id)
        || state.assignee_id.is_some_and(|agent| viewer == Author::agent(agent))
        || state.participants.iter().any(|agent| viewer == Author::agent(*agent))
}
