//! Sends that were refused before they began.
//!
//! Clients say of every repeat that it may be stored already, and then the log is read before it is written: dear
//! where a thread is long. What was refused here was not begun, so that under overload the repeats of what is too much
//! cost the log nothing.
//!
//! Invariant: holds at most two generations of ids; none counts for longer than three. An id leaves as its send begins.

use std::{
    collections::HashSet,
    mem,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bus_schema::EventId;
use ops::chat::Draft;
use tokio::time::Instant;

/// Clients come back within seconds; whoever takes longer is looked up.
const GENERATION: Duration = Duration::from_secs(30);
/// Ids of each of the two generations.
const IDS_MAX: usize = 65_536;

#[derive(Debug)]
pub struct TurnedAway(Mutex<Generations>);

#[derive(Debug)]
struct Generations {
    young: HashSet<EventId>,
    old: HashSet<EventId>,
    turned: Instant,
}

impl Default for TurnedAway {
    fn default() -> Self {
        let (young, old) = (HashSet::new(), HashSet::new());
        Self(Mutex::new(Generations { young, old, turned: Instant::now() }))
    }
}

impl TurnedAway {
    /// It is refused, and nothing of it was begun here. A repeat may have been begun elsewhere.
    pub fn add(&self, draft: &Draft) {
        if !draft.retry {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).add(draft.event_id(), Instant::now());
        }
    }

    /// It begins: of a repeat of what was only ever refused, nothing can be in the log.
    pub fn begin(&self, draft: &mut Draft) {
        if draft.retry {
            let known =
                self.0.lock().unwrap_or_else(PoisonError::into_inner).take(draft.event_id(), Instant::now());
            draft.retry = !known;
        }
    }
}

impl Generations {
    fn add(&mut self, id: EventId, now: Instant) {
        self.turn(now);
        self.young.insert(id);
    }

    fn take(&mut self, id: EventId, now: Instant) -> bool {
        self.turn(now);
        // Of both, so that it is in neither.
        self.young.remove(&id) | self.old.remove(&id)
    }

    fn turn(&mut self, now: Instant) {
        let age = now.duration_since(self.turned);
        if age >= 2 * GENERATION {
            // Nothing turned them meanwhile: both are too old.
            self.young = HashSet::new();
        }
        if age >= GENERATION || self.young.len() >= IDS_MAX {
            self.old = mem::take(&mut self.young);
            self.turned = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn id(n: usize) -> EventId {
        EventId::from_uuid(Uuid::from_u128(n as u128))
    }

    #[test]
    fn an_id_is_known_once_for_a_while_and_they_are_bounded() {
        let now = Instant::now();
        let mut all = Generations { young: HashSet::new(), old: HashSet::new(), turned: now };
        all.add(id(1), now);
        assert!(all.take(id(1), now) && !all.take(id(1), now));
        all.add(id(2), now);
        all.add(id(3), now + GENERATION);
        assert!(all.take(id(2), now + GENERATION), "for a generation at least");
        all.add(id(4), now + GENERATION);
        all.add(id(5), now + 2 * GENERATION);
        all.add(id(6), now + 3 * GENERATION);
        let later = now + 3 * GENERATION;
        assert!(!all.take(id(4), later) && all.take(id(5), later), "and for two, where others come");
        assert!(!all.take(id(6), later + 2 * GENERATION), "for two, where nobody comes");
        for n in 0..3 * IDS_MAX {
            all.add(id(n), later + 2 * GENERATION);
        }
        assert!(all.young.len() + all.old.len() <= 2 * IDS_MAX);
    }
}
