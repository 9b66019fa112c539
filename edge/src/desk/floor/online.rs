//! Which visitors of a tenant are online, over all edges.
//!
//! Invariant: a visitor is online while some edge said so, and has not said otherwise or fallen silent since.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use bus_schema::{IncarnationId, VisitorId, protocol::VisitorPresence};
use tokio::time::Instant;

/// Visitors of one tenant that are remembered; more are not shown.
const ONLINE_MAX: usize = 20_000;
/// An edge that is not heard of for this long has gone with its visitors: each is asked every 30 s.
const SILENT: Duration = Duration::from_secs(75);

#[derive(Debug, Default)]
pub struct Online {
    visitors: HashMap<VisitorId, Seen>,
}

/// What changed of a visitor.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// None: not online.
    pub was: Option<VisitorPresence>,
    pub is: VisitorPresence,
}

#[derive(Debug)]
struct Seen {
    /// The newest word on where the visitor is.
    last: VisitorPresence,
    edges: BTreeMap<IncarnationId, Instant>,
}

impl Online {
    /// An edge's word; what changed by it.
    pub fn hear(&mut self, edge: IncarnationId, word: VisitorPresence, now: Instant) -> Option<Change> {
        let id = word.id;
        let Some(seen) = self.visitors.get_mut(&id) else {
            if !word.online || self.visitors.len() >= ONLINE_MAX {
                return None;
            }
            let edges = BTreeMap::from([(edge, now)]);
            self.visitors.insert(id, Seen { last: word.clone(), edges });
            return Some(Change { was: None, is: word });
        };
        if word.online {
            seen.edges.insert(edge, now);
        } else {
            seen.edges.remove(&edge);
            if !seen.edges.is_empty() {
                return None;
            }
            let was = self.visitors.remove(&id).map(|seen| seen.last);
            return Some(Change { was, is: word });
        }
        // A connection that says nothing of a page takes none away.
        let word = VisitorPresence { page: word.page.or_else(|| seen.last.page.clone()), ..word };
        let was = std::mem::replace(&mut seen.last, word);
        (was != seen.last).then(|| Change { was: Some(was), is: seen.last.clone() })
    }

    /// Whoever no edge speaks of any more.
    pub fn expire(&mut self, now: Instant) -> Vec<Change> {
        let gone = self.visitors.extract_if(|_, seen| {
            seen.edges.retain(|_, heard| now.saturating_duration_since(*heard) < SILENT);
            seen.edges.is_empty()
        });
        let change = |seen: Seen| Change {
            is: VisitorPresence { online: false, ..seen.last.clone() },
            was: Some(seen.last),
        };
        gone.map(|(_, seen)| change(seen)).collect()
    }

    pub fn all(&self) -> impl Iterator<Item = &VisitorPresence> {
        self.visitors.values().map(|seen| &seen.last)
    }
}

#[cfg(test)]
mod tests {
    use bus_schema::{ConversationId, state::Page};
    use uuid::Uuid;

    use super::*;

    fn word(online: bool, url: Option<&str>) -> VisitorPresence {
        VisitorPresence {
            id: VisitorId::NIL,
            conversation_id: ConversationId::NIL,
            online,
            page: url.map(|url| Page { url: url.into(), title: None }),
            group_id: None,
        }
    }

    fn change(was: Option<VisitorPresence>, is: VisitorPresence) -> Option<Change> {
        Some(Change { was, is })
    }

    #[test]
    fn a_visitor_is_gone_when_the_last_edge_says_so_or_falls_silent() {
        let now = Instant::now();
        let [one, two] = [1, 2].map(|n| IncarnationId::from_uuid(Uuid::from_u128(n)));
        let (a, b) = (word(true, Some("/a")), word(true, Some("/b")));
        let mut online = Online::default();
        assert_eq!(online.hear(one, word(false, None), now), None);
        assert_eq!(online.hear(one, a.clone(), now), change(None, a.clone()));
        assert_eq!(online.hear(two, word(true, None), now), None);
        assert_eq!(online.hear(two, b.clone(), now), change(Some(a), b.clone()));
        assert_eq!(online.hear(one, word(false, None), now), None);
        assert_eq!(online.all().count(), 1);
        assert_eq!(online.expire(now + SILENT / 2), []);
        assert_eq!(online.expire(now + SILENT), change(Some(b), word(false, Some("/b"))).as_slice());
        assert_eq!(online.all().count(), 0);
    }
}
