//! All sockets of this process, and whose each of them is.
//!
//! Invariant: a connection that is somebody's is found by that person from before the check that lets it in until it
//! is gone: what bars the person after that check closes it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bus_schema::{Author, TenantId, Timestamp, VisitorId, close::CloseCode};

use crate::{conn::Conn, session::Who};

/// Whose a connection is, and since when the token says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub who: Who,
    /// When its token was made.
    pub issued: Timestamp,
}

#[derive(Debug, Default)]
pub struct Connections {
    next: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    all: HashMap<u64, Entry>,
    /// Each person's connections in the order they came.
    people: HashMap<(TenantId, Author), VecDeque<u64>>,
}

#[derive(Debug)]
struct Entry {
    conn: Arc<Conn>,
    owner: Option<Owner>,
}

impl Connections {
    /// A number that no other connection of this process has.
    pub fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub fn add(&self, conn: &Arc<Conn>) {
        self.lock().all.insert(conn.id, Entry { conn: conn.clone(), owner: None });
    }

    pub fn all(&self) -> Vec<Arc<Conn>> {
        self.lock().all.values().map(|entry| entry.conn.clone()).collect()
    }

    /// Makes a connection a person's, or says that its token is another one now.
    pub fn claim(&self, conn: &Conn, owner: Owner) {
        let mut inner = self.lock();
        let Some(entry) = inner.all.get_mut(&conn.id) else { return };
        let before = entry.owner.replace(owner);
        if before.map(|before| before.who.person()) != Some(owner.who.person()) {
            inner.disown(conn.id, before);
            inner.people.entry(owner.who.person()).or_default().push_back(conn.id);
        }
    }

    /// Closes the oldest connections of a person beyond `most`.
    pub fn evict(&self, who: Who, most: usize) {
        let inner = self.lock();
        let Some(own) = inner.people.get(&who.person()) else { return };
        for oldest in own.iter().take(own.len().saturating_sub(most)) {
            if let Some(entry) = inner.all.get(oldest) {
                entry.conn.outbox.close(CloseCode::Evicted);
            }
        }
    }

    /// The connection is gone.
    pub fn release(&self, conn: &Conn) {
        let mut inner = self.lock();
        if let Some(entry) = inner.all.remove(&conn.id) {
            inner.disown(conn.id, entry.owner);
        }
    }

    /// Closes the connections of whoever is barred.
    pub fn close_where(&self, barred: impl Fn(&Owner) -> Option<CloseCode>) {
        for entry in self.lock().all.values() {
            entry.close_if(&barred);
        }
    }

    /// Closes those of one person.
    pub fn close_of(&self, tenant: TenantId, author: Author, barred: impl Fn(&Owner) -> Option<CloseCode>) {
        let inner = self.lock();
        for id in inner.people.get(&(tenant, author)).into_iter().flatten() {
            if let Some(entry) = inner.all.get(id) {
                entry.close_if(&barred);
            }
        }
    }

    pub fn has(&self, tenant: TenantId, author: Author) -> bool {
        self.lock().people.contains_key(&(tenant, author))
    }

    /// Visitors with a connection here.
    pub fn visitors(&self) -> Vec<(TenantId, VisitorId)> {
        let visitor = |who: &Who| match *who {
            Who::Visitor { tenant, visitor, .. } => Some((tenant, visitor)),
            Who::Staff { .. } => None,
        };
        let inner = self.lock();
        let newest = inner.people.values().filter_map(|own| inner.all.get(own.back()?)?.owner);
        newest.filter_map(|owner| visitor(&owner.who)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Each change leaves both maps whole at every point where it could panic: they hold plain numbers.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn disown(&mut self, conn: u64, owner: Option<Owner>) {
        let Some(person) = owner.map(|owner| owner.who.person()) else { return };
        if let Some(own) = self.people.get_mut(&person) {
            own.retain(|other| *other != conn);
            if own.is_empty() {
                self.people.remove(&person);
            }
        }
    }
}

impl Entry {
    fn close_if(&self, barred: &impl Fn(&Owner) -> Option<CloseCode>) {
        if let Some(code) = self.owner.as_ref().and_then(barred) {
            self.conn.outbox.close(code);
        }
    }
}

#[cfg(test)]
mod tests {
    use bus_schema::WidgetId;

    use super::*;
    use crate::{metrics::Measures, socket::Outbox};

    fn visitor(id: u128) -> Owner {
        let visitor = VisitorId::from_uuid(uuid::Uuid::from_u128(id));
        let who = Who::Visitor { tenant: TenantId::NIL, visitor, widget: WidgetId::NIL };
        Owner { who, issued: Timestamp::default() }
    }

    fn open(all: &Connections, owner: Owner) -> Arc<Conn> {
        let conn = Conn::new(all.next_id(), Outbox::new(0, None), Arc::new(Measures::new()));
        all.add(&conn);
        all.claim(&conn, owner);
        conn
    }

    #[test]
    fn the_oldest_beyond_the_limit_are_closed_and_nobody_elses() {
        let all = Connections::default();
        let own: Vec<_> = (0..4).map(|_| open(&all, visitor(1))).collect();
        let other = open(&all, visitor(2));
        all.evict(visitor(1).who, 2);
        let closed: Vec<_> = own.iter().map(|conn| conn.outbox.closed()).collect();
        let evicted = Some(CloseCode::Evicted);
        assert_eq!(closed, [evicted, evicted, None, None]);
        assert_eq!(other.outbox.closed(), None);
    }

    #[test]
    fn what_is_released_is_forgotten_and_a_new_claim_is_not_a_second_one() {
        let all = Connections::default();
        let conn = open(&all, visitor(1));
        all.claim(&conn, Owner { issued: Timestamp::from_millis(5), ..visitor(1) });
        assert_eq!(all.visitors().len(), 1);
        all.close_where(|owner| (owner.issued.millis() == 0).then_some(CloseCode::Revoked));
        assert_eq!(conn.outbox.closed(), None);
        all.release(&conn);
        let (tenant, author) = visitor(1).who.person();
        assert!(!all.has(tenant, author) && all.all().is_empty());
    }
}
