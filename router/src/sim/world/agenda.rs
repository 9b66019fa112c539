//! What happens next: events in the order of virtual time.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::World;

/// Whom an event reaches. One of a process that has ended reaches nobody, one of a paused process reaches it later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    World,
    /// Number, and which run of it.
    Router(usize, u32),
    Edge(usize, u32),
}

type Act = Box<dyn FnOnce(&mut World)>;

pub struct Event {
    pub at: i64,
    order: u64,
    pub to: To,
    pub what: &'static str,
    pub act: Act,
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

#[derive(Default)]
pub struct Agenda {
    events: BinaryHeap<Reverse<Event>>,
    next: u64,
}

impl Agenda {
    pub fn add(&mut self, at: i64, to: To, what: &'static str, act: Act) {
        self.next += 1;
        self.events.push(Reverse(Event { at, order: self.next, to, what, act }));
    }

    /// The same event, later; among those of the same instant it keeps its place.
    pub fn postpone(&mut self, event: Event, at: i64) {
        self.events.push(Reverse(Event { at, ..event }));
    }

    pub fn next(&mut self) -> Option<Event> {
        self.events.pop().map(|Reverse(event)| event)
    }

    pub fn next_at(&self) -> Option<i64> {
        self.events.peek().map(|Reverse(event)| event.at)
    }
}
