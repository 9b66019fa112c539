//! What the bus does with requests: the model's stream and bucket, with their leader.

use std::{rc::Rc, time::Duration};

use bus_schema::{
    AuthorType, Event, Lane, Subject, Timestamp,
    event::Kind,
    refusal::{NO_LEADER, STREAM_LIMIT},
    stream::LEASE_TTL_MS,
};

use super::{World, agenda::To, edges::NOTICED_MS, net::Reply};
use crate::{
    routing::{Said, WriteId},
    sim::{
        bugs::Bug,
        bus::{Begun, Proposal, Put, Replicas},
    },
};

/// Which write of which run of which router a message came from.
pub type Origin = (usize, u32, WriteId);

/// What is stored: the bytes, what they say, and where they came from.
#[derive(Debug)]
pub struct Payload {
    pub bytes: Vec<u8>,
    pub event: Event,
    pub origin: Option<Origin>,
}

impl Payload {
    /// Read back from its bytes, so that what does not round-trip is found.
    pub fn new(event: &Event, origin: Option<Origin>) -> Rc<Self> {
        let bytes = event.encode();
        let event = Event::decode(&bytes).expect("what was encoded decodes");
        Rc::new(Self { bytes, event, origin })
    }
}

/// The answer to a write.
#[derive(Debug, Clone, Copy)]
pub enum Ack {
    Stored { first: u64, last: u64 },
    Refused(u64),
}

/// A batch that the server has no room for right now.
const BATCH_TOO_MANY: u64 = 10210;

/// A longer outage has been noticed by everyone who lists the leases: one list may be read just before it, and the next
/// is waited for.
const OUTAGE_NOTICED_MS: i64 = 6_100;

impl World {
    /// A write reaches the server.
    pub fn publish(&mut self, mut puts: Vec<Put<Rc<Payload>>>, reply: Reply<Ack>) {
        if !self.bus_up {
            if self.random.chance(500) {
                self.answer(reply, Ack::Refused(NO_LEADER));
            }
            return;
        }
        if !self.calm {
            let refused = match self.random.below(1000) {
                0..2 => Some(STREAM_LIMIT),
                2..5 => Some(BATCH_TOO_MANY),
                _ => None,
            };
            if let Some(code) = refused {
                return self.answer(reply, Ack::Refused(code));
            }
        }
        if self.plan.bug == Some(Bug::BatchSplit) && puts.len() > 1 && self.random.chance(20) {
            puts.pop();
        }
        match self.stream.propose(puts, self.at()) {
            Begun::Refused(code) => self.answer(reply, Ack::Refused(code)),
            Begun::Duplicate(seq) => self.answer(reply, Ack::Stored { first: seq, last: seq }),
            Begun::Proposed(proposal) => {
                self.proposed.insert(proposal, reply);
                match self.stream.replicas() {
                    Replicas::One => self.commit(proposal),
                    Replicas::Three => {
                        let slow = !self.calm && self.random.chance(80);
                        let ms = if slow { self.random.between(20, 400) } else { self.random.between(1, 6) };
                        self.after(ms, To::World, "replicated", move |world| world.commit(proposal));
                    }
                }
            }
        }
    }

    fn commit(&mut self, proposal: Proposal) {
        // Lost with its leader.
        let Some(reply) = self.proposed.remove(&proposal) else { return };
        if let Some((first, last)) = self.stream.commit(proposal, self.at()) {
            self.stored(first, last);
            self.answer(reply, Ack::Stored { first, last });
        }
    }

    /// The leader is gone for a while. What was on its way is stored or not, and nobody is told.
    pub fn lose_leader(&mut self, for_ms: u64) {
        for n in 0..self.edges.len() {
            self.note_reachable(n);
        }
        for proposal in self.stream.under_way() {
            self.proposed.remove(&proposal);
            if self.random.chance(500) {
                if let Some((first, last)) = self.stream.commit(proposal, self.at()) {
                    self.stored(first, last);
                }
            } else {
                self.stream.forget(proposal);
            }
        }
        if std::mem::replace(&mut self.bus_up, false) {
            self.outage_began = self.now;
        }
        self.outage += 1;
        let outage = self.outage;
        self.after(for_ms, To::World, "a leader", move |world| {
            if world.outage == outage {
                world.bus_works();
            }
        });
    }

    pub fn bus_works(&mut self) {
        (self.bus_up, self.bus_since) = (true, self.now);
        self.outage += 1;
        let took = self.now - self.outage_began;
        for edge in self.edges.iter_mut().filter(|_| took >= OUTAGE_NOTICED_MS) {
            // Nobody counts as away for the time in which the bus was.
            edge.reachable_at = (edge.reachable_at + took).min(self.now);
        }
        // Whose link has just come back has not been noticed yet.
        for edge in self.edges.iter_mut().filter(|edge| self.now - edge.linked_at < NOTICED_MS) {
            edge.linked_at = self.now;
        }
        for n in 0..self.routers.len() {
            self.deliver_soon(n);
        }
    }

    /// Reads at the leader: what was there when the question came.
    pub fn read<A: 'static>(&mut self, reply: Reply<A>, read: impl FnOnce(&mut World) -> A) {
        if self.bus_up {
            let found = read(self);
            self.answer(reply, found);
        }
    }

    /// Up to where a reader sees the log: to its end, unless replicas are trusted.
    pub fn visible(&mut self) -> u64 {
        let end = self.stream.log().len() as u64;
        if self.plan.bug != Some(Bug::StaleReadTrusted) {
            return end;
        }
        let behind = Duration::from_millis(self.random.between(0, 3000));
        let at = self.at();
        self.stream.log().partition_point(|stored| stored.at.plus(behind) <= at) as u64
    }

    /// What people said in a conversation after a sequence, as the shell's looker reads it.
    pub fn said(&mut self, subject: Subject, after: u64, max: usize) -> (Vec<Said>, Option<u64>, bool) {
        let visible = self.visible();
        let mut found = self.stream.after(subject, after).filter(|stored| stored.seq <= visible);
        let page: Vec<_> = found.by_ref().take(max).collect();
        let more = page.len() == max && found.next().is_some();
        let heard =
            page.iter().filter(|stored| stored.payload.event.body.kind().is_some_and(Kind::ends_with_thread));
        let said = heard.map(|stored| {
            let by: AuthorType = stored.payload.event.author.kind;
            Said { by, at: stored.at }
        });
        (said.collect(), page.last().map(|stored| stored.seq), more)
    }

    pub fn lease_lives() -> Duration {
        Duration::from_millis(LEASE_TTL_MS)
    }

    pub fn at(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }
}

/// What routing does not read.
pub fn is_beside(subject: Subject) -> bool {
    match subject {
        Subject::Conversation { lane, .. } => !matches!(lane, Lane::Life | Lane::Desk),
        Subject::Agent { .. } => false,
        Subject::Visitor { .. } => true,
    }
}
