//! A conversation as a reader first sees it: the thread's latest events, marks and unread count at one position.
//!
//! Invariant: it holds exactly what lies at or below its position in each lane, so that what comes after the
//! position completes it without a hole or a double.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bus_schema::{
    Audience, Author, ErrorBody, Lane, TagId, event::Kind, limits::SNAPSHOT_EVENTS_MAX, protocol::MarkView,
    subject::ConversationSubjects,
};
use serde_json::value::RawValue;

use super::{
    Head, Life,
    fact::UpTo,
    lanes::{ends, some_ends},
    older::{Item, Older, Reach, Stop},
    unreadable,
};
use crate::log::Log;

/// Messages of a lane that are read at a time.
const PIECE: usize = 2 * SNAPSHOT_EVENTS_MAX;
/// Messages read for one snapshot, and bytes of them; what is unread, or marked, before them is not counted.
const READ_MAX: usize = 2_000;
const READ_BYTES_MAX: usize = 512 * 1024;
/// Bytes of the events that it shows: an answer to a login may have a hundred snapshots.
const SHOWN_BYTES_MAX: usize = 256 * 1024;
/// How long a snapshot waits for what is below the horizon.
const PAST_WAIT: Duration = Duration::from_secs(1);

/// The ends of an audience's lanes, from the leader: everything acknowledged before is at or below them.
#[derive(Debug, Clone, Default)]
pub struct Tail {
    pub lanes: Vec<(Lane, u64)>,
    pub life: Option<Life>,
    /// Where each lane ends that has anything up to [`Tail::end`], as some server has it, which has all of that. `lanes` does
    /// not say it: it was asked one lane after the other, and between two answers something may have been stored.
    pub ends: Option<Vec<(Lane, u64)>>,
}

impl Tail {
    fn of(mut lanes: Vec<(Lane, u64)>, life: Option<Life>) -> Self {
        lanes.extend(life.as_ref().map(|life| (Lane::Life, life.seq)));
        Self { lanes, life, ends: None }
    }

    /// Highest sequence of any lane.
    pub fn end(&self) -> u64 {
        self.lanes.iter().map(|(_, seq)| *seq).max().unwrap_or(0)
    }
}

/// What there is of a conversation at a position.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// At most 50 of the thread, and where they are long fewer, oldest first, as readers see them.
    pub events: Vec<Box<RawValue>>,
    pub has_more: bool,
    /// Sequences of what its viewer has not read, ascending.
    pub unread: Vec<u64>,
    /// In the order of their authors.
    pub marks: Vec<MarkView>,
    /// For an audience that reads notes.
    pub tags: BTreeSet<TagId>,
    /// Who wrote the events.
    pub authors: BTreeSet<Author>,
    /// Nothing is left out because the read model did not answer.
    pub is_whole: bool,
}

/// Reads the ends of the lanes from the leader. `life` comes last: a state that is older than another lane's end could
/// be one that was over by then, and whoever takes that end as a position is never told of the change.
pub async fn tail(log: &Log, home: ConversationSubjects, audience: Audience) -> Result<Tail, ErrorBody> {
    let lanes = ends(log, home, &others(audience)).await.map_err(|error| unreadable(&error))?;
    Ok(Tail::of(lanes, super::life(log, home).await?))
}

/// The same and, where a server says so beside the last answer, the `ends`: who resumes need not ask for them again.
pub async fn tail_with_ends(
    log: &Log,
    home: ConversationSubjects,
    audience: Audience,
) -> Result<Tail, ErrorBody> {
    let lanes = ends(log, home, &others(audience)).await.map_err(|error| unreadable(&error))?;
    let (life, ends) = tokio::join!(super::life(log, home), some_ends(log, home, audience));
    let mut tail = Tail::of(lanes, life?);
    // A server's log is a prefix: where it has the last message, it has all before it.
    tail.ends = ends.ok().filter(|ends| ends.iter().any(|(_, end)| *end >= tail.end()));
    Ok(tail)
}

fn others(audience: Audience) -> Vec<Lane> {
    audience.lanes().iter().copied().filter(|lane| *lane != Lane::Life).collect()
}

/// What a snapshot is of.
#[derive(Debug, Clone, Copy)]
pub struct Sight<'a> {
    pub home: ConversationSubjects,
    pub audience: Audience,
    /// The thread.
    pub life: &'a Life,
    /// Last sequence of each lane, by index.
    pub position: &'a [u64; Lane::ALL.len()],
    pub viewer: Author,
    /// The first sequence that the log has whole.
    pub horizon: u64,
    /// Its events are wanted; whoever has them is told only what they come to.
    pub events: bool,
}

/// The thread as its viewer sees it at a position: read from its end, and no further than needed.
pub async fn snapshot(log: &Log, sight: &Sight<'_>) -> Result<Snapshot, ErrorBody> {
    let Sight { home, audience, life, position, horizon, .. } = *sight;
    let known = || audience.lanes().iter().map(|lane| position[lane.index()]);
    let reach = Reach {
        log,
        home,
        audience,
        lanes: if sight.events { audience.lanes() } else { counted_lanes(audience) },
        first: life.started_seq(),
        horizon,
        up_to: known().max().unwrap_or(0),
        settled: known().min().unwrap_or(0),
    };
    let mut older = Older::new(reach, PIECE, PAST_WAIT).await.map_err(|error| unreadable(&error))?;
    let mut gathered = Gathered::new(sight);
    while !gathered.has_enough() {
        match older.next().await {
            Ok(Some(item)) if item.lane().is_none_or(|lane| item.seq() <= position[lane.index()]) => {
                gathered.take(item);
            }
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(Stop::Log(error)) => return Err(unreadable(&error)),
            // Chat goes on without the read model; `has_more` says that there is more.
            Err(Stop::Model(error)) => {
                tracing::debug!(%error, "a snapshot without what is below the horizon");
                (gathered.is_cut, gathered.is_whole) = (true, false);
                break;
            }
        }
    }
    let tags = match audience {
        Audience::Staff => super::tags::tags_until(log, home, life, position[Lane::Note.index()]).await?,
        Audience::All => BTreeSet::new(),
    };
    Ok(gathered.finish(tags))
}

/// What was read so far, from the newest to the oldest.
struct Gathered<'a> {
    sight: &'a Sight<'a>,
    events: VecDeque<Box<RawValue>>,
    authors: BTreeSet<Author>,
    /// There are older ones in the thread.
    is_cut: bool,
    is_whole: bool,
    read: usize,
    read_bytes: usize,
    /// Where it is.
    lowest: u64,
    shown_bytes: usize,
    /// Sequence and author of what counts as unread.
    said: Vec<(u64, Author)>,
    marks: BTreeMap<Author, (u64, u64)>,
}

impl<'a> Gathered<'a> {
    fn new(sight: &'a Sight<'a>) -> Self {
        Self {
            sight,
            events: VecDeque::with_capacity(SNAPSHOT_EVENTS_MAX),
            authors: BTreeSet::new(),
            is_cut: false,
            is_whole: true,
            read: 0,
            read_bytes: 0,
            lowest: u64::MAX,
            shown_bytes: 0,
            said: Vec::new(),
            marks: BTreeMap::new(),
        }
    }

    /// Takes the next older event.
    fn take(&mut self, item: Item) {
        let len = item.len();
        self.lowest = item.seq();
        self.read += 1;
        self.read_bytes += len;
        // What cannot be read is still shown: readers ignore what they do not know.
        let head = Head::decode(item.bytes()).ok();
        match head.as_ref().and_then(|head| Some((head, head.kind()?))) {
            Some((head, kind @ (Kind::Delivered | Kind::Read))) => return self.mark(head, kind),
            Some((head, kind)) if kind.counts_as_unread() => self.said.push((item.seq(), head.author)),
            Some(_) | None => {}
        }
        if !self.sight.events {
            return;
        }
        let author = head.map(|head| head.author);
        let too_long = self.shown_bytes + len > SHOWN_BYTES_MAX && !self.events.is_empty();
        // Nothing older than what found no room is shown: it would be a hole.
        if self.is_cut || too_long || self.events.len() == SNAPSHOT_EVENTS_MAX {
            self.is_cut = true;
        } else if let Some(event) = item.event() {
            self.authors.extend(author);
            self.shown_bytes += len;
            self.events.push_front(event);
        }
    }

    fn mark(&mut self, head: &Head<'_>, kind: Kind) {
        let up_to = serde_json::from_str::<UpTo>(head.data.get()).map_or(0, |data| data.up_to_seq);
        let (delivered, read) = self.marks.entry(head.author).or_default();
        let mark = if kind == Kind::Read { read } else { delivered };
        *mark = (*mark).max(up_to);
    }

    /// The events are there, what is unread, and the marks of all who take part, so that nothing older changes anything.
    fn has_enough(&self) -> bool {
        let everyone = || {
            let mut people = members(self.sight.life);
            people.all(|author| {
                self.marks.get(&author).is_some_and(|(delivered, read)| *delivered > 0 && *read > 0)
            })
        };
        // A mark may say that less is read than lies before it.
        let counted = || !self.takes_part() || self.lowest <= self.has_read();
        let bounded = || self.read >= READ_MAX || self.read_bytes >= READ_BYTES_MAX;
        (self.is_cut || !self.sight.events) && (bounded() || (everyone() && counted()))
    }

    fn takes_part(&self) -> bool {
        members(self.sight.life).any(|member| member == self.sight.viewer)
    }

    /// How far the viewer has read.
    fn has_read(&self) -> u64 {
        self.marks.get(&self.sight.viewer).map_or(0, |(_, read)| *read)
    }

    fn finish(self, tags: BTreeSet<TagId>) -> Snapshot {
        let Sight { life, viewer, .. } = *self.sight;
        let read = self.has_read();
        let is_unread = |(seq, author): &(u64, Author)| *seq > read && *author != viewer;
        let mut unread: Vec<u64> = match self.takes_part() {
            true => self.said.iter().filter(|said| is_unread(said)).map(|(seq, _)| *seq).collect(),
            false => Vec::new(),
        };
        unread.sort_unstable();
        // What is read was delivered.
        let mark = |(author, (delivered, read)): (Author, (u64, u64))| MarkView {
            author,
            delivered: delivered.max(read),
            read,
        };
        // Without events: whether there are any that were not looked at.
        let is_cut = self.is_cut || (!self.sight.events && self.has_enough());
        Snapshot {
            has_more: is_cut || life.state.previous_thread_id.is_some(),
            events: self.events.into(),
            unread,
            is_whole: self.is_whole,
            marks: self.marks.into_iter().map(mark).collect(),
            authors: self.authors,
            tags,
        }
    }
}

/// Where marks are, and what they count.
const fn counted_lanes(audience: Audience) -> &'static [Lane] {
    match audience {
        Audience::All => &[Lane::Msg, Lane::Mark],
        Audience::Staff => &[Lane::Msg, Lane::Mark, Lane::Note],
    }
}

/// Who takes part in the thread.
fn members(life: &Life) -> impl Iterator<Item = Author> {
    let state = &life.state;
    let agents = state.assignee_id.iter().chain(&state.participants).copied().map(Author::agent);
    std::iter::once(Author::visitor(state.visitor_id)).chain(agents)
}
