//! Which subscriptions bring copies and signals for whom.
//!
//! Invariant: a number is used once, so what is still on its way when a subscription ends finds nobody.

use std::collections::HashMap;

use ops::wire::{Driver, FIRST_SID, Wire};

use super::io::Place;

/// The subscriptions of one worker: each place has two, of numbers that follow each other.
#[derive(Debug)]
pub struct Subscriptions {
    /// By the number of the copies' subscription.
    places: HashMap<u64, Place>,
    next: u64,
}

const EACH: u64 = 2;

impl Subscriptions {
    pub fn new() -> Self {
        Self { places: HashMap::new(), next: FIRST_SID }
    }

    /// Hears a place's copies and signals from now on.
    pub fn begin(&mut self, place: Place, wire: &Wire) -> u64 {
        let sid = self.next;
        self.next += EACH;
        self.places.insert(sid, place);
        for (sid, subject) in subjects(sid, place) {
            wire.subscribe(sid, &subject);
        }
        sid
    }

    /// Whom a message is for, by the number that it came under.
    pub fn place(&self, sid: u64) -> Option<Place> {
        self.places.get(&(sid - (sid - FIRST_SID) % EACH)).copied()
    }

    pub fn end(&mut self, sid: u64, wire: &Wire) {
        if let Some(place) = self.places.remove(&sid) {
            for (sid, _) in subjects(sid, place) {
                wire.unsubscribe(sid);
            }
        }
    }

    /// All there are again, on a connection that is new.
    pub fn again(&self, driver: &mut Driver) {
        for (sid, place) in &self.places {
            for (sid, subject) in subjects(*sid, *place) {
                driver.subscribe(sid, &subject);
            }
        }
    }
}

fn subjects(sid: u64, place: Place) -> [(u64, String); EACH as usize] {
    [(sid, place.home.live(place.audience)), (sid + 1, place.home.signals())]
}
