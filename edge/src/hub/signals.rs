//! How often somebody's typing and previews are passed on. Pure: no IO, no clock.
//!
//! Invariant: of one author and kind at most one signal within `EVERY` goes on, always the latest; what was held when
//! the author's message was stored never goes on, so that nobody seems to type what is already there.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use bus_schema::{Author, protocol::SignalKind, signal::Signal, subject::ConversationSubjects};
use tokio::time::Instant;

pub const EVERY: Duration = Duration::from_secs(1);
/// People who signal at one worker; beyond it signals are dropped, which they may always be.
const TOLD_MAX: usize = 16_384;

/// Whose signals of which kind, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub home: ConversationSubjects,
    pub author: Author,
    pub kind: SignalKind,
}

#[derive(Debug, Default)]
pub struct Signals {
    told: HashMap<Key, Told>,
}

#[derive(Debug)]
struct Told {
    next_at: Instant,
    held: Option<Signal>,
}

impl Signals {
    /// A signal came: it goes on now, or is held until it may.
    pub fn offer(&mut self, key: Key, signal: Signal, now: Instant) -> Option<Signal> {
        let full = self.told.len() >= TOLD_MAX;
        match self.told.entry(key) {
            Entry::Vacant(_) if full => None,
            Entry::Vacant(slot) => {
                slot.insert(Told { next_at: now + EVERY, held: None });
                Some(signal)
            }
            Entry::Occupied(mut told) => {
                let told = told.get_mut();
                if told.next_at <= now {
                    *told = Told { next_at: now + EVERY, held: None };
                    return Some(signal);
                }
                told.held = Some(signal);
                None
            }
        }
    }

    /// The author's message is stored.
    pub fn ended(&mut self, home: ConversationSubjects, author: Author) {
        for kind in [SignalKind::Typing, SignalKind::Preview] {
            if let Some(told) = self.told.get_mut(&Key { home, author, kind }) {
                told.held = None;
            }
        }
    }

    /// What was held long enough; who has been silent is forgotten.
    pub fn due(&mut self, now: Instant) -> Vec<(ConversationSubjects, Signal)> {
        let mut due = Vec::new();
        self.told.retain(|key, told| {
            if told.next_at > now {
                return true;
            }
            told.next_at = now + EVERY;
            let held = told.held.take();
            let kept = held.is_some();
            due.extend(held.map(|signal| (key.home, signal)));
            kept
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bus_schema::{ConversationId, Shard, TenantId, VisitorId};

    const HOME: ConversationSubjects =
        ConversationSubjects { shard: Shard(0), tenant: TenantId::NIL, conversation: ConversationId::NIL };

    fn key(kind: SignalKind) -> Key {
        Key { home: HOME, author: Author::visitor(VisitorId::NIL), kind }
    }

    fn preview(text: &str) -> Signal {
        let author = Author::visitor(VisitorId::NIL);
        Signal::Preview { conversation_id: ConversationId::NIL, author, text: text.to_owned() }
    }

    #[test]
    fn one_a_second_goes_on_and_the_latest_wins() {
        let (start, mut signals) = (Instant::now(), Signals::default());
        let at = |ms| start + Duration::from_millis(ms);
        let preview_key = key(SignalKind::Preview);
        assert_eq!(signals.offer(preview_key, preview("a"), at(0)), Some(preview("a")));
        assert_eq!(signals.offer(preview_key, preview("ab"), at(100)), None);
        assert_eq!(signals.offer(preview_key, preview("abc"), at(900)), None);
        assert_eq!(signals.due(at(999)), []);
        assert_eq!(signals.due(at(1_000)), [(HOME, preview("abc"))]);
        assert_eq!(signals.offer(preview_key, preview("abcd"), at(1_999)), None, "counted from then on");
        assert_eq!(signals.due(at(2_000)).len(), 1);
        assert_eq!(signals.due(at(3_000)), []);
        assert!(signals.told.is_empty(), "who is silent is forgotten");
    }

    #[test]
    fn kinds_do_not_wait_for_each_other() {
        let (now, mut signals) = (Instant::now(), Signals::default());
        assert!(signals.offer(key(SignalKind::Preview), preview("a"), now).is_some());
        assert!(signals.offer(key(SignalKind::Typing), preview("a"), now).is_some());
    }

    #[test]
    fn what_is_said_is_typed_no_more() {
        let (now, mut signals) = (Instant::now(), Signals::default());
        signals.offer(key(SignalKind::Preview), preview("a"), now);
        signals.offer(key(SignalKind::Preview), preview("ab"), now);
        signals.ended(HOME, Author::visitor(VisitorId::NIL));
        assert_eq!(signals.due(now + EVERY), []);
    }

    #[test]
    fn a_crowd_is_bounded() {
        let (now, mut signals) = (Instant::now(), Signals::default());
        for n in 0..TOLD_MAX + 10 {
            let author = Author::visitor(VisitorId::from_uuid(uuid::Uuid::from_u128(n as u128)));
            signals.offer(Key { author, ..key(SignalKind::Preview) }, preview("a"), now);
        }
        assert_eq!(signals.told.len(), TOLD_MAX);
    }
}
