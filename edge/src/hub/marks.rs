//! How far people have read, coalesced. Pure: no IO, no clock.
//!
//! Invariant: marks only grow; of one person in one conversation at most one is written within `EVERY`, and what was
//! asked last is always written: a request is answered once a mark at or above its own is stored, or once a later
//! request of its own connection carries the same promise on.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use bus_schema::{Author, ThreadId, subject::ConversationSubjects};
use ops::chat::{MarkKind, Marked};
use tokio::time::Instant;

pub const EVERY: Duration = Duration::from_secs(1);
/// People with a mark under way at one worker; more are refused.
pub const PEOPLE_MAX: usize = 16_384;

pub type Key = (ConversationSubjects, Author);

/// What somebody asked to have marked.
#[derive(Debug)]
pub struct Asked<R> {
    pub kind: MarkKind,
    pub up_to: u64,
    /// The thread it was asked in.
    pub thread: ThreadId,
    pub conn: u64,
    pub reply: R,
}

/// A mark to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    pub kind: MarkKind,
    pub up_to: u64,
    pub thread: ThreadId,
}

/// `R` is the duty to answer.
#[derive(Debug)]
pub struct Marks<R> {
    people: HashMap<Key, Person<R>>,
}

#[derive(Debug)]
struct Person<R> {
    stored: Marked,
    waiting: Vec<Asked<R>>,
    next_at: Instant,
    /// A write is under way.
    writing: bool,
}

impl<R> Default for Marks<R> {
    fn default() -> Self {
        Self { people: HashMap::new() }
    }
}

impl<R> Marks<R> {
    /// Takes a request; gives what is answered by that. `known` is what the log is known to have of this person.
    /// An error gives the request back: too many people are being served.
    pub fn ask(&mut self, key: Key, known: Marked, asked: Asked<R>, now: Instant) -> Result<Vec<R>, R> {
        let full = self.people.len() >= PEOPLE_MAX;
        let person = match self.people.entry(key) {
            Entry::Occupied(person) => person.into_mut(),
            Entry::Vacant(_) if full => return Err(asked.reply),
            Entry::Vacant(slot) => slot.insert(Person {
                stored: Marked::default(),
                waiting: Vec::new(),
                next_at: now,
                writing: false,
            }),
        };
        person.stored = person.stored.max(known);
        if person.stored.covers(asked.kind, asked.up_to) {
            return Ok(vec![asked.reply]);
        }
        let (mut asked, mut answered) = (asked, Vec::new());
        // The connection's later request promises what its earlier one did.
        let earlier = person
            .waiting
            .iter()
            .position(|other| other.conn == asked.conn && other.kind == asked.kind)
            .map(|at| person.waiting.swap_remove(at));
        if let Some(earlier) = earlier {
            asked.up_to = asked.up_to.max(earlier.up_to);
            answered.push(earlier.reply);
        }
        person.waiting.push(asked);
        Ok(answered)
    }

    /// What is to be written for this person now, if anything: a read mark says `delivered` as well. It counts as
    /// under way until [`Marks::written`].
    pub fn begin(&mut self, key: Key, now: Instant) -> Option<Due> {
        let person = self.people.get_mut(&key)?;
        if person.writing || person.next_at > now {
            return None;
        }
        // Read sorts above delivered.
        let last = person.waiting.iter().max_by_key(|asked| (asked.kind, asked.up_to))?;
        person.writing = true;
        person.next_at = now + EVERY;
        Some(Due { kind: last.kind, up_to: last.up_to, thread: last.thread })
    }

    /// Who has waited long enough; who waits for nothing is forgotten.
    pub fn due(&mut self, now: Instant) -> Vec<Key> {
        self.people.retain(|_, person| person.writing || !person.waiting.is_empty() || person.next_at > now);
        let due = |person: &Person<R>| !person.writing && !person.waiting.is_empty() && person.next_at <= now;
        self.people.iter().filter(|(_, person)| due(person)).map(|(key, _)| *key).collect()
    }

    /// A write ended; gives those whose wish it was. Where it failed, all of its kind are told.
    pub fn written(&mut self, key: Key, kind: MarkKind, up_to: u64, stored: bool) -> Vec<R> {
        let Some(person) = self.people.get_mut(&key) else { return Vec::new() };
        person.writing = false;
        if stored {
            person.stored = person.stored.max(Marked::of(kind, up_to));
        }
        let now_stored = person.stored;
        let ended = |asked: &Asked<R>| match stored {
            true => now_stored.covers(asked.kind, asked.up_to),
            false => asked.kind == kind,
        };
        let (done, waiting) = std::mem::take(&mut person.waiting).into_iter().partition(ended);
        person.waiting = waiting;
        let done: Vec<Asked<R>> = done;
        done.into_iter().map(|asked| asked.reply).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus_schema::{AgentId, ConversationId, Shard, TenantId};

    const KEY: Key = (
        ConversationSubjects { shard: Shard(0), tenant: TenantId::NIL, conversation: ConversationId::NIL },
        Author::agent(AgentId::NIL),
    );

    fn read(conn: u64, up_to: u64, reply: u32) -> Asked<u32> {
        Asked { kind: MarkKind::Read, up_to, thread: ThreadId::NIL, conn, reply }
    }

    fn due(up_to: u64) -> Option<Due> {
        Some(Due { kind: MarkKind::Read, up_to, thread: ThreadId::NIL })
    }

    #[test]
    fn the_first_goes_at_once_and_the_latest_of_the_rest_follows() {
        let (start, mut marks) = (Instant::now(), Marks::default());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(marks.ask(KEY, Marked::default(), read(1, 5, 50), at(0)), Ok(vec![]));
        assert_eq!(marks.begin(KEY, at(0)), due(5));
        assert_eq!(
            marks.ask(KEY, Marked::default(), read(1, 6, 60), at(10)),
            Ok(vec![50]),
            "60 carries it on"
        );
        assert_eq!(marks.ask(KEY, Marked::default(), read(1, 7, 70), at(20)), Ok(vec![60]));
        assert_eq!(marks.begin(KEY, at(20)), None, "one is under way");
        assert_eq!(marks.written(KEY, MarkKind::Read, 5, true), Vec::<u32>::new());
        assert_eq!(marks.begin(KEY, at(999)), None);
        assert_eq!((marks.due(at(999)), marks.due(at(1_000))), (vec![], vec![KEY]));
        assert_eq!(marks.begin(KEY, at(1_000)), due(7));
        assert_eq!(marks.written(KEY, MarkKind::Read, 7, true), [70]);
        assert_eq!(marks.due(at(2_000)), []);
        assert!(marks.people.is_empty(), "who waits for nothing is forgotten");
    }

    #[test]
    fn marks_never_go_down_and_read_means_delivered() {
        let (now, mut marks) = (Instant::now(), Marks::default());
        let known = Marked { delivered: 0, read: 9 };
        assert_eq!(marks.ask(KEY, known, read(1, 9, 1), now), Ok(vec![1]));
        let delivered = Asked { kind: MarkKind::Delivered, ..read(1, 8, 2) };
        assert_eq!(marks.ask(KEY, known, delivered, now), Ok(vec![2]));
        assert_eq!(marks.begin(KEY, now), None);
        let later = Asked { kind: MarkKind::Delivered, ..read(1, 12, 3) };
        assert_eq!(marks.ask(KEY, known, later, now), Ok(vec![]));
        assert_eq!(marks.ask(KEY, known, read(1, 12, 4), now), Ok(vec![]));
        assert_eq!(marks.begin(KEY, now), due(12));
        assert_eq!(marks.written(KEY, MarkKind::Read, 12, true), [3, 4], "one write for both");
    }

    #[test]
    fn a_crowd_is_bounded_and_who_is_known_goes_on() {
        let (now, mut marks) = (Instant::now(), Marks::default());
        for n in 0..PEOPLE_MAX as u128 {
            let agent = AgentId::from_uuid(uuid::Uuid::from_u128(n + 1));
            let asked = marks.ask((KEY.0, Author::agent(agent)), Marked::default(), read(1, 5, 1), now);
            assert_eq!(asked, Ok(vec![]));
        }
        assert_eq!(marks.ask(KEY, Marked::default(), read(1, 5, 7), now), Err(7));
        let known = (KEY.0, Author::agent(AgentId::from_uuid(uuid::Uuid::from_u128(1))));
        assert_eq!(marks.ask(known, Marked::default(), read(1, 6, 8), now), Ok(vec![1]));
    }

    #[test]
    fn an_earlier_request_that_asked_for_more_is_kept() {
        let (now, mut marks) = (Instant::now(), Marks::default());
        assert_eq!(marks.ask(KEY, Marked::default(), read(1, 9, 1), now), Ok(vec![]));
        assert_eq!(marks.ask(KEY, Marked::default(), read(1, 4, 2), now), Ok(vec![1]));
        assert_eq!(marks.begin(KEY, now), due(9));
    }

    #[test]
    fn each_connection_is_answered_by_what_is_stored_and_failures_are_told() {
        let (now, mut marks) = (Instant::now(), Marks::default());
        assert_eq!(marks.ask(KEY, Marked::default(), read(1, 5, 1), now), Ok(vec![]));
        assert_eq!(marks.ask(KEY, Marked::default(), read(2, 6, 2), now), Ok(vec![]));
        assert_eq!(marks.begin(KEY, now), due(6));
        assert_eq!(marks.written(KEY, MarkKind::Read, 6, false), [1, 2]);
        assert_eq!(marks.begin(KEY, now + EVERY), None, "nobody waits for it any more");
    }
}
