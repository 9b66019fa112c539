//! A tenant's visitors with a connection here, and what other edges were told of them.
//!
//! Invariant: once a second at most, what differs from what was told is told; who came and went within is nothing.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use bus_schema::{
    ConversationId, GroupId, TenantId, VisitorId, protocol::VisitorPresence, signal::Who, state::Page,
};
use tokio::time::Instant;

use crate::conn::Conn;

const PACE: Duration = Duration::from_secs(1);
/// Visitors in an edge's answer to who is here; more are not shown.
const ANSWER_MAX: usize = 1_000;
/// And its size: one message takes 1 MiB.
const ANSWER_BYTES_MAX: usize = 512 * 1024;
/// Visitors in one signal; the rest follows a second later.
const SIGNAL_MAX: usize = 200;

#[derive(Debug)]
pub struct Local {
    tenant: TenantId,
    visitors: HashMap<VisitorId, Visitor>,
    by_conn: HashMap<u64, VisitorId>,
    changed: HashSet<VisitorId>,
    told: Option<Instant>,
}

#[derive(Debug)]
struct Visitor {
    conversation_id: ConversationId,
    conns: Vec<Arc<Conn>>,
    page: Option<Page>,
    /// Of the open thread.
    group_id: Option<GroupId>,
    /// Where a thread would begin.
    default_group: Option<GroupId>,
    told: Option<VisitorPresence>,
}

/// A visitor's connection that comes.
#[derive(Debug)]
pub struct Arrival {
    pub conn: Arc<Conn>,
    pub visitor: VisitorId,
    pub group_id: Option<GroupId>,
    pub default_group: Option<GroupId>,
}

impl Local {
    pub fn new(tenant: TenantId) -> Self {
        let (visitors, by_conn, changed) = Default::default();
        Self { tenant, visitors, by_conn, changed, told: None }
    }

    pub fn is_empty(&self) -> bool {
        self.by_conn.is_empty()
    }

    pub fn enter(&mut self, arrival: Arrival) {
        let Arrival { conn, visitor, group_id, default_group } = arrival;
        let tenant = self.tenant;
        self.by_conn.insert(conn.id, visitor);
        let entry = self.visitors.entry(visitor).or_insert_with(|| Visitor {
            conversation_id: ConversationId::of(tenant, visitor),
            conns: Vec::new(),
            page: None,
            group_id,
            default_group,
            told: None,
        });
        entry.group_id = group_id.or(entry.group_id);
        entry.conns.push(conn);
        self.changed.insert(visitor);
    }

    pub fn leave(&mut self, conn: u64) {
        let Some(visitor) = self.by_conn.remove(&conn) else { return };
        if let Some(entry) = self.visitors.get_mut(&visitor) {
            entry.conns.retain(|other| other.id != conn);
            self.changed.insert(visitor);
        }
    }

    pub fn turn_page(&mut self, visitor: VisitorId, page: Page) {
        if let Some(entry) = self.visitors.get_mut(&visitor) {
            entry.page = Some(page);
            self.changed.insert(visitor);
        }
    }

    /// The visitor's thread has this group now; none: no thread is open. Says of which group the visitor hears, if
    /// that is another one.
    pub fn thread(&mut self, visitor: VisitorId, group_id: Option<GroupId>) -> Option<GroupId> {
        let entry = self.visitors.get_mut(&visitor)?;
        let before = entry.interest();
        if std::mem::replace(&mut entry.group_id, group_id) != group_id {
            self.changed.insert(visitor);
        }
        entry.interest().filter(|now| Some(*now) != before)
    }

    /// Connections that want to know of a group: of visitors whose thread is there, or would begin there.
    pub fn interested(&self, group: GroupId) -> impl Iterator<Item = &Arc<Conn>> {
        let there = self.visitors.values().filter(move |visitor| visitor.interest() == Some(group));
        there.flat_map(|visitor| &visitor.conns)
    }

    pub fn conns(&self) -> impl Iterator<Item = &Arc<Conn>> {
        self.visitors.values().flat_map(|visitor| &visitor.conns)
    }

    pub fn conns_of(&self, visitor: VisitorId) -> &[Arc<Conn>] {
        self.visitors.get(&visitor).map_or(&[], |entry| &entry.conns)
    }

    /// Which group a visitor hears of.
    pub fn interest(&self, visitor: VisitorId) -> Option<GroupId> {
        self.visitors.get(&visitor)?.interest()
    }

    pub fn due(&self, now: Instant) -> Option<Instant> {
        (!self.changed.is_empty()).then(|| self.told.map_or(now, |told| told + PACE))
    }

    /// What other edges are to be told now.
    pub fn take(&mut self, now: Instant) -> Vec<VisitorPresence> {
        if self.due(now).is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.told = Some(now);
        let some: Vec<_> = self.changed.iter().take(SIGNAL_MAX).copied().collect();
        let mut news = Vec::new();
        for id in some {
            self.changed.remove(&id);
            let Some(visitor) = self.visitors.get_mut(&id) else { continue };
            let is = visitor.presence(id, visitor.page.clone());
            if visitor.told.as_ref() != Some(&is) && (is.online || visitor.told.is_some()) {
                visitor.told = Some(is.clone());
                news.push(is);
            }
            if visitor.conns.is_empty() {
                self.visitors.remove(&id);
            }
        }
        news
    }

    /// Who is here: the answer to another edge's question, or to a router's about some conversations.
    pub fn answer(&self, about: &Who) -> Vec<VisitorPresence> {
        let about: HashSet<ConversationId> = about.conversations.iter().copied().collect();
        let mut bytes = 0;
        self.visitors
            .iter()
            .filter(|(_, visitor)| !visitor.conns.is_empty())
            .filter(|(_, visitor)| about.is_empty() || about.contains(&visitor.conversation_id))
            // Who asks about conversations asks nothing of pages, and must hear of all of them.
            .map(|(id, visitor)| {
                visitor.presence(*id, visitor.page.as_ref().filter(|_| about.is_empty()).cloned())
            })
            .take(ANSWER_MAX)
            .take_while(|presence| {
                let page = presence.page.as_ref();
                bytes += 256
                    + page
                        .map_or(0, |page| 2 * (page.url.len() + page.title.as_ref().map_or(0, String::len)));
                bytes <= ANSWER_BYTES_MAX
            })
            .collect()
    }
}

impl Visitor {
    fn interest(&self) -> Option<GroupId> {
        self.group_id.or(self.default_group)
    }

    fn presence(&self, id: VisitorId, page: Option<Page>) -> VisitorPresence {
        VisitorPresence {
            id,
            conversation_id: self.conversation_id,
            online: !self.conns.is_empty(),
            page,
            group_id: self.group_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Measures;

    const TENANT: TenantId = TenantId::NIL;
    const VISITOR: VisitorId = VisitorId::NIL;

    fn arrival(id: u64) -> Arrival {
        let conn = Conn::new(id, crate::socket::Outbox::new(0, None), Arc::new(Measures::new()));
        Arrival { conn, visitor: VISITOR, group_id: None, default_group: None }
    }

    #[test]
    fn a_reload_within_a_second_is_no_news() {
        let now = Instant::now();
        let mut local = Local::new(TENANT);
        local.enter(arrival(1));
        assert!(local.take(now)[0].online);
        local.leave(1);
        local.enter(arrival(2));
        assert_eq!((local.take(now), local.take(now + PACE)), (vec![], vec![]));
        local.turn_page(VISITOR, Page { url: "/a".into(), title: None });
        local.leave(2);
        let gone = local.take(now + 2 * PACE);
        assert_eq!((gone.len(), gone[0].online), (1, false));
        assert!(local.is_empty() && local.answer(&Who::default()).is_empty());
        // Who came and went before anybody was told was never here.
        local.enter(arrival(3));
        local.leave(3);
        assert_eq!(local.take(now + 3 * PACE), []);
    }

    #[test]
    fn a_visitor_hears_of_the_group_of_the_thread_or_of_where_one_would_begin() {
        let [home, other] = [1, 2].map(|n| GroupId::from_uuid(uuid::Uuid::from_u128(n)));
        let mut local = Local::new(TENANT);
        local.enter(Arrival { default_group: Some(home), ..arrival(1) });
        assert_eq!(local.interest(VISITOR), Some(home));
        assert_eq!(local.thread(VISITOR, Some(home)), None);
        assert_eq!(local.thread(VISITOR, Some(other)), Some(other));
        assert_eq!((local.interested(home).count(), local.interested(other).count()), (0, 1));
        assert_eq!(local.thread(VISITOR, None), Some(home));
    }
}
