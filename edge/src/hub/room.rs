//! One conversation at this edge: its feeds with their members, and its sends.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use bus_schema::{
    Audience, Author, Lane,
    command::View,
    cursor::Cursor,
    protocol::QueueView,
    state::ThreadStatus,
    tally::{Fact, Tally},
};
use ops::chat::{Life, Marked};
use tokio::time::Instant;

use super::{Gate, Join, Position, gate::Standing, io::Shown, sends::SendJob};
use crate::{conn::Conn, feed::Feed, socket::Outgoing};

#[derive(Debug, Default)]
pub struct Room {
    /// The newest state that was delivered or read.
    pub life: Option<Life>,
    pub visitor_name: Option<String>,
    /// How far its people have read, as far as it was delivered or read here.
    pub marks: HashMap<Author, Marked>,
    /// The open thread's place in its queue, as last told.
    pub queue: Option<QueueView>,
    /// Boxed: most conversations have one audience here.
    feeds: [Option<Box<FeedState>>; 2],
    pub sends: VecDeque<Box<SendJob>>,
    /// A write is in flight.
    pub sending: bool,
    /// It stands among the worker's blocked rooms.
    pub blocked: bool,
    /// Until then nothing is written that people send.
    pub held: Option<Instant>,
}

/// One audience's feed and its members.
#[derive(Debug)]
pub struct FeedState {
    /// None while the subscription and the first look at the log are under way.
    pub feed: Option<Feed<Shown>>,
    pub members: Vec<Member>,
    /// Served once everything up to `barrier` is delivered.
    pub waiters: Vec<Waiter>,
    pub barrier: Option<u64>,
    /// Where the lanes end as of a position, where it was found for whoever opened the feed; gone once they are served.
    pub ends: Option<Ends>,
    /// A look at the leader's tail is under way.
    pub syncing: bool,
    /// Live copies may have been lost since the look that is under way was asked.
    pub doubted: bool,
    /// It stands among the worker's feeds in doubt.
    pub queued: bool,
    /// Came too late for the look that is under way.
    pub next_waiters: Vec<Waiter>,
    /// When the tail is compared next.
    pub check_at: Instant,
    /// The number of its subscription.
    pub sid: u64,
}

impl FeedState {
    /// A look at the leader's tail begins; says up to where messages were delivered before it.
    pub fn sync(&mut self) -> u64 {
        self.syncing = true;
        self.feed.as_ref().map_or(0, Feed::highest)
    }
}

/// What waits for everything up to now to be delivered.
#[derive(Debug)]
pub enum Waiter {
    Join(Join),
    Leave { conn: u64, view: View },
}

/// A feed's position, and the last message of each lane that has any up to there.
pub type Ends = ([u64; Lane::ALL.len()], Vec<(Lane, u64)>);

/// A connection that follows the feed.
#[derive(Debug)]
pub struct Member {
    pub conn: Arc<Conn>,
    pub viewer: Author,
    pub principal: [u8; 8],
    pub gate: Option<Gate>,
    pub mode: Mode,
    /// For whom messages count as unread: the viewer, unless it watches.
    pub reader: Option<Author>,
    /// What the thread came to for it at the last event it was given; none: not known, and its cursors do not say it.
    pub tally: Option<Tally>,
    /// It may not follow any more, which is on its way to it.
    pub ended: bool,
    /// Wanted while a snapshot was on its way.
    pub pending: Vec<Join>,
}

#[derive(Debug)]
pub enum Mode {
    /// There is no conversation yet.
    Dormant,
    /// A snapshot is on its way; these follow it.
    Held(Held),
    Live,
}

/// Frames that wait for a snapshot, bounded like an outbox.
#[derive(Debug, Default)]
pub struct Held {
    /// The load that brings the snapshot.
    pub load: u64,
    /// What a client that resumes gets first; bounded by how it was read.
    pub lead: Vec<Outgoing>,
    pub frames: Vec<Outgoing>,
    /// What they change of what the snapshot comes to; none: it is known already, or they were too many.
    pub facts: Option<Vec<(u64, Fact)>>,
    pub bytes: usize,
}

impl Room {
    pub fn feed(&mut self, audience: Audience) -> Option<&mut FeedState> {
        self.feeds[index(audience)].as_deref_mut()
    }

    pub fn feed_mut(&mut self, audience: Audience) -> &mut Option<Box<FeedState>> {
        &mut self.feeds[index(audience)]
    }

    pub fn feeds(&mut self) -> impl Iterator<Item = (Audience, &mut FeedState)> {
        let audiences = [Audience::All, Audience::Staff];
        audiences
            .into_iter()
            .zip(&mut self.feeds)
            .filter_map(|(audience, feed)| Some((audience, feed.as_deref_mut()?)))
    }

    /// Nothing holds it here.
    pub fn is_idle(&self) -> bool {
        self.feeds.iter().all(Option::is_none) && self.sends.is_empty() && !self.sending && !self.blocked
    }

    /// Takes over a state unless a newer one is known.
    pub fn learn(&mut self, life: &Life) {
        if self.life.as_ref().is_none_or(|known| known.seq < life.seq) {
            self.life = Some(life.clone());
            if life.state.status != ThreadStatus::Queued {
                self.queue = None;
            }
        }
    }

    /// Takes over somebody's marks, which only grow.
    pub fn has_marked(&mut self, author: Author, marked: Marked) {
        let known = self.marks.entry(author).or_default();
        *known = known.max(marked);
    }
}

impl Waiter {
    /// It says where it is, and what it missed since will be read.
    pub const fn resumes(&self) -> bool {
        matches!(self, Self::Join(Join { resume: Some(Position::At(..)), .. }))
    }
}

impl FeedState {
    pub fn opening(first: Waiter, sid: u64, now: Instant) -> Self {
        Self {
            feed: None,
            members: Vec::new(),
            waiters: vec![first],
            barrier: None,
            ends: None,
            syncing: false,
            doubted: false,
            queued: false,
            next_waiters: Vec::new(),
            check_at: now,
            sid,
        }
    }

    pub fn member(&mut self, conn: u64) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.conn.id == conn)
    }

    /// The member that waits for exactly this load.
    pub fn held_by(&mut self, conn: u64, load: u64) -> Option<&mut Member> {
        self.member(conn).filter(|member| matches!(&member.mode, Mode::Held(held) if held.load == load))
    }

    pub fn is_unused(&self) -> bool {
        self.members.is_empty() && self.waiters.is_empty() && self.next_waiters.is_empty()
    }
}

impl Member {
    /// It is given the event stored at `seq`.
    pub fn takes(&mut self, seq: u64, fact: Fact) {
        if let Mode::Held(Held { facts: Some(facts), .. }) = &mut self.mode {
            return facts.push((seq, fact));
        }
        self.tally = self.tally.take().and_then(|tally| tally.with(self.reader, seq, fact));
    }

    /// What the thread comes to in its snapshot is known: what was given since then changes it.
    pub fn counts_from(&mut self, tally: Option<Tally>) {
        let Mode::Held(held) = &mut self.mode else { return };
        let since = held.facts.take();
        self.tally = tally.zip(since).and_then(|(tally, since)| {
            since.into_iter().try_fold(tally, |tally, (seq, fact)| tally.with(self.reader, seq, fact))
        });
    }

    /// It follows as one who takes part, or watches: what counts for it is another thing from now on.
    pub fn stands_as(&mut self, standing: Standing) {
        let reader = (standing == Standing::TakesPart).then_some(self.viewer);
        if reader != self.reader {
            self.tally = None;
        }
        (self.principal, self.reader) = (standing.principal(self.viewer), reader);
    }

    pub fn new(conn: Arc<Conn>, viewer: Author, mode: Mode) -> Self {
        let principal = Cursor::principal(viewer);
        Self {
            conn,
            viewer,
            principal,
            gate: None,
            mode,
            reader: Some(viewer),
            tally: None,
            ended: false,
            pending: Vec::new(),
        }
    }
}

const fn index(audience: Audience) -> usize {
    match audience {
        Audience::All => 0,
        Audience::Staff => 1,
    }
}
