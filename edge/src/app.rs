//! Everything a connection or an HTTP request needs; shared by all of them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bus_schema::{Author, AuthorType, TenantId, close::CloseCode};
use ops::auth::{KeySet, SigningKey};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{agents::Agents, conn::Conn, core::Core, hub::Hub, limits::or_unbounded};

#[derive(Debug)]
pub struct App {
    pub core: Arc<Core>,
    pub hub: Hub,
    pub agents: Agents,
    pub keys: Arc<KeySet>,
    pub signing: SigningKey,
    pub ws_url: String,
    /// Origins that are allowed everywhere: the console's and those of the settings.
    pub open_origins: Vec<String>,
    pub shutdown: CancellationToken,
    pub tasks: TaskTracker,
    pub connections: Connections,
    pub health: ops::health::Health,
}

/// All sockets of this process, and those of each person in the order they came.
#[derive(Debug, Default)]
pub struct Connections {
    next: AtomicU64,
    all: Mutex<HashMap<u64, Arc<Conn>>>,
    people: Mutex<People>,
}

type People = HashMap<(TenantId, Author), VecDeque<Arc<Conn>>>;

impl App {
    pub fn open_connection(&self) -> Arc<Conn> {
        let id = self.connections.next.fetch_add(1, Ordering::Relaxed);
        let bytes = usize::try_from(self.core.limits.outbox_bytes).unwrap_or(usize::MAX);
        let conn = Conn::new(id, bytes, self.core.measures.clone());
        lock(&self.connections.all).insert(id, conn.clone());
        conn
    }

    /// Counts a connection as a person's; the oldest beyond the limit is closed.
    pub fn claim(&self, tenant: TenantId, author: Author, conn: &Arc<Conn>) {
        let limits = &self.core.limits;
        let most = or_unbounded(match author.kind {
            AuthorType::Visitor => limits.connections_per_visitor,
            AuthorType::Agent | AuthorType::Bot | AuthorType::System => limits.connections_per_agent,
        });
        let mut people = lock(&self.connections.people);
        let own = people.entry((tenant, author)).or_default();
        own.push_back(conn.clone());
        while own.len() > most {
            if let Some(oldest) = own.pop_front() {
                oldest.outbox.close(CloseCode::Evicted);
            }
        }
    }

    /// The connection is gone.
    pub fn release(&self, conn: &Conn, person: Option<(TenantId, Author)>) {
        lock(&self.connections.all).remove(&conn.id);
        let Some(person) = person else { return };
        let mut people = lock(&self.connections.people);
        if let Some(own) = people.get_mut(&person) {
            own.retain(|other| other.id != conn.id);
            if own.is_empty() {
                people.remove(&person);
            }
        }
    }
}

impl Connections {
    pub fn all(&self) -> Vec<Arc<Conn>> {
        lock(&self.all).values().cloned().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one insert or remove, so a panic elsewhere cannot leave it half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
