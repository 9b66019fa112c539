//! Which live copies may be delivered, and what must be read first (design §2.1). Pure: no IO, no clock.
//!
//! Invariant: whatever is dropped, doubled, delayed or reordered on the way, what is delivered of each lane is the
//! log's slice of it, ascending and without a hole; across lanes an event may come after a later one only if it says
//! `late`. For this `last[lane]` never passes an event that was not delivered.

use std::collections::VecDeque;

use bus_schema::{Audience, Lane};

/// Live copies that wait for a read; beyond it they are dropped and read later.
pub const WAITING_MAX: usize = 1_024;
/// Reads from any replica before the leader is asked.
pub const REPLICA_TRIES: u32 = 2;

/// A stored message with its lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<T> {
    pub lane: Lane,
    pub seq: u64,
    pub item: T,
}

/// A live copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy<T> {
    pub entry: Entry<T>,
    /// Sequence before it on exactly its subject.
    pub previous: u64,
    /// The `life` sequence that fenced it, if one did.
    pub fence: Option<u64>,
}

/// What the shell must do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action<T> {
    Deliver {
        entry: Entry<T>,
        late: bool,
        /// Where a reader is that has this and everything delivered before it, and nothing after it.
        position: [u64; Lane::ALL.len()],
    },
    /// Find the last message of each lane of the audience, and call `on_ends`.
    Look,
    /// Read all lanes of the audience from `from` until `up_to` is seen, and call `on_read`.
    Read(Wanted),
}

/// A read that is wanted; at most one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub from: u64,
    pub up_to: u64,
    /// Replicas lag: ask the leader, whose answer is final.
    pub leader: bool,
}

/// How the ends of the lanes were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Any server, for all lanes at one moment.
    AtOnce,
    /// The leader, for one lane beside the other, when the feed had delivered messages up to `highest`.
    EachOfLeader { highest: u64 },
}

/// The position of one audience of one conversation.
#[derive(Debug)]
pub struct Feed<T> {
    audience: Audience,
    /// Everything of the lane up to this sequence was delivered, or lies before the feed's beginning.
    last: [u64; Lane::ALL.len()],
    /// Highest sequence delivered of any lane.
    highest: u64,
    verified: bool,
    reading: Option<Reading>,
    /// A live copy of `life` that comes next in its lane: whether something of the others lies before it is looked up.
    looked_at: Option<Copy<T>>,
    /// A read that must follow the one under way.
    then: u64,
    waiting: VecDeque<Copy<T>>,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    up_to: u64,
    tries: u32,
}

impl<T> Feed<T> {
    /// A feed whose readers have everything up to `position`, known from the leader after the subscription stood.
    pub fn at(audience: Audience, position: u64) -> Self {
        Self {
            audience,
            last: [position; Lane::ALL.len()],
            highest: position,
            verified: true,
            reading: None,
            looked_at: None,
            then: 0,
            waiting: VecDeque::new(),
        }
    }

    /// The position per lane, for cursors; 0 for lanes that the audience does not read.
    pub fn position(&self) -> [u64; Lane::ALL.len()] {
        let mut position = [0; Lane::ALL.len()];
        for lane in self.audience.lanes() {
            position[lane.index()] = self.last[lane.index()];
        }
        position
    }

    /// Everything of all lanes up to here was delivered.
    pub fn complete_to(&self) -> u64 {
        self.audience.lanes().iter().map(|lane| self.last[lane.index()]).min().unwrap_or(0)
    }

    /// The highest sequence that was delivered, or lies before the feed's beginning.
    pub fn highest(&self) -> u64 {
        self.highest.max(self.complete_to())
    }

    pub fn is_verified(&self) -> bool {
        self.verified
    }

    pub fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Live messages may have been lost: nothing is delivered unread until a leader's tail is reached.
    pub fn unverify(&mut self) {
        self.verified = false;
    }

    /// A live copy came.
    pub fn on_live(&mut self, copy: Copy<T>, out: &mut Vec<Action<T>>) {
        if self.reading.is_some() {
            if copy.entry.seq <= self.last[copy.entry.lane.index()] {
                return;
            }
            // What does not fit is read afterwards.
            if self.waiting.len() >= WAITING_MAX {
                self.then = self.then.max(copy.entry.seq);
            } else {
                self.waiting.push_back(copy);
            }
            return;
        }
        let Entry { lane, seq, .. } = copy.entry;
        let last = self.last[lane.index()];
        if seq <= last {
            return;
        }
        let gap = copy.previous > last
            || copy.fence.is_some_and(|fence| fence > self.last[Lane::Life.index()])
            || !self.verified;
        if gap {
            self.begin(seq, 0, out);
        } else if lane == Lane::Life {
            self.reading = Some(Reading { up_to: seq, tries: 0 });
            self.looked_at = Some(copy);
            out.push(Action::Look);
        } else {
            self.deliver(copy.entry, out);
        }
    }

    /// The ends of the lanes, as some server has them. Its log is a prefix: where it has the message that was looked at, or
    /// a later one, it has everything before it. Of a lane that ends above what was delivered something may be missing.
    pub fn on_ends(&mut self, ends: &[(Lane, u64)], out: &mut Vec<Action<T>>) {
        let Some(copy) = self.looked_at.take() else { return };
        self.reading = None;
        let seq = copy.entry.seq;
        let is_known = ends.iter().any(|(lane, end)| *lane == Lane::Life && *end >= seq);
        let missing = |(lane, end): &(Lane, u64)| *lane != Lane::Life && *end > self.last[lane.index()];
        if self.verified && is_known && !ends.iter().any(missing) {
            self.deliver(copy.entry, out);
            self.raise(seq);
            self.settle(out);
        } else {
            self.begin(seq, 0, out);
        }
    }

    /// A read answered with `entries`, ascending and without a hole from where it was asked; `ended` when the log, as
    /// the asked server has it, holds no more up to the wanted end.
    pub fn on_read(&mut self, entries: Vec<Entry<T>>, ended: bool, out: &mut Vec<Action<T>>) {
        let Some(reading) = self.reading.take() else { return };
        let mut reached = 0;
        for entry in entries {
            reached = entry.seq;
            if entry.seq > self.last[entry.lane.index()] {
                self.deliver(entry, out);
            }
        }
        self.raise(reached);
        let asked_leader = reading.tries >= REPLICA_TRIES;
        if reached < reading.up_to && !(ended && asked_leader) {
            let tries = reading.tries + u32::from(ended);
            self.begin(reading.up_to, tries, out);
            return;
        }
        // The leader holds nothing more below the end: what was there is gone for every reader.
        self.raise(reading.up_to);
        self.settle(out);
    }

    /// A read or a look failed; the shell asks again later by a tail check.
    pub fn on_read_failed(&mut self) {
        self.reading = None;
        self.looked_at = None;
        self.verified = false;
        self.waiting.clear();
        self.then = 0;
    }

    /// The ends of the lanes as a server has them. From the leader, asked after the subscription stood, they verify.
    pub fn on_tail(&mut self, tail: &[(Lane, u64)], asked: Asked, out: &mut Vec<Action<T>>) {
        let end = tail.iter().map(|(_, seq)| *seq).max().unwrap_or(0);
        // A server's log is a prefix: with all ends delivered, so is everything up to the highest of them, if they are
        // ends of one moment. Else something may have been stored in one lane after its end was told and before that of
        // another was; only what was there before anything was asked for is under all of them.
        let under_all = match asked {
            Asked::AtOnce => end,
            Asked::EachOfLeader { highest } => {
                self.verified = true;
                highest.min(end)
            }
        };
        if self.reading.is_some() {
            self.then = self.then.max(end);
            return;
        }
        if tail.iter().all(|(lane, seq)| *seq <= self.last[lane.index()]) {
            self.raise(under_all);
        }
        if self.complete_to() < end {
            self.begin(end, 0, out);
        }
    }

    fn begin(&mut self, up_to: u64, tries: u32, out: &mut Vec<Action<T>>) {
        self.reading = Some(Reading { up_to, tries });
        let from = self.complete_to() + 1;
        out.push(Action::Read(Wanted { from, up_to, leader: tries >= REPLICA_TRIES }));
    }

    /// After a read: what waited, then what did not fit.
    fn settle(&mut self, out: &mut Vec<Action<T>>) {
        while let Some(copy) = self.waiting.pop_front() {
            self.on_live(copy, out);
            if self.reading.is_some() {
                // `on_live` queues behind what waits; the order by arrival is kept because this one was first.
                return;
            }
        }
        let then = std::mem::take(&mut self.then);
        if then > self.complete_to() {
            self.begin(then, 0, out);
        }
    }

    fn deliver(&mut self, entry: Entry<T>, out: &mut Vec<Action<T>>) {
        self.last[entry.lane.index()] = entry.seq;
        let late = entry.seq < self.highest;
        self.highest = self.highest.max(entry.seq);
        out.push(Action::Deliver { entry, late, position: self.position() });
    }

    fn raise(&mut self, complete_to: u64) {
        for last in &mut self.last {
            *last = (*last).max(complete_to);
        }
    }
}
