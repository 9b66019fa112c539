//! What is told within a tenant beside its conversations: presence, views, groups, configuration. One task a tenant
//! that has had a connection here.
//!
//! Invariant: a connection is told only of its own tenant, staff only what their role may see, and visitors only of
//! their group and of the people they have met.

mod groups;
mod io;
mod local;
mod online;
mod presence;
mod push;
mod task;
mod view;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bus_schema::{
    AgentId, ErrorBody, ErrorCode, GroupId, TenantId, VisitorId,
    protocol::{ConfigChanged, GroupStatus, VisitorPresence},
    signal::Who,
    state::Page,
};
use tokio::sync::{mpsc, oneshot};

use crate::{app::App, conn::Conn, hub::Sender};

pub use groups::Groups;
pub use local::Arrival;
pub use view::Which;

/// Requests that wait for one floor.
const ASKS_MAX: usize = 1_024;

/// What a floor is asked or told.
#[derive(Debug)]
pub enum Ask {
    Staff {
        conn: Arc<Conn>,
        sender: Sender,
    },
    Visitor(Arrival),
    Leave {
        conn: u64,
    },
    Page {
        visitor: VisitorId,
        page: Page,
    },
    /// A visitor's thread changed; none: it is closed.
    Thread {
        visitor: VisitorId,
        group_id: Option<GroupId>,
    },
    /// A record of the configuration changed.
    Config(ConfigChanged),
    /// Others see this agent with another name or picture.
    Person(AgentId),
    /// Answered once the view was read as it is; from then on its changes are pushed.
    Subscribe {
        conn: u64,
        which: Which,
        done: oneshot::Sender<Result<(), ErrorBody>>,
    },
    /// Another process asks which visitors are here.
    Who {
        about: Who,
        reply: async_nats::Subject,
    },
    /// Who is online, as far as the connection may see.
    Visitors {
        conn: u64,
        done: oneshot::Sender<Vec<VisitorPresence>>,
    },
}

/// The floors of all tenants.
#[derive(Debug, Default)]
pub struct Floors {
    floors: Mutex<HashMap<TenantId, mpsc::Sender<Ask>>>,
    /// Visitors who are online on some edge, of tenants with staff here.
    online: Mutex<HashMap<TenantId, HashSet<VisitorId>>>,
    pub groups: Groups,
}

impl Floors {
    /// Tells a floor, which begins with the first word to it.
    pub async fn ask(app: &Arc<App>, tenant: TenantId, ask: Ask) -> Result<(), ErrorBody> {
        let Some(shard) = app.core.directory.now().tenant(tenant).map(|tenant| tenant.shard) else {
            return Err(ErrorCode::Unavailable.into());
        };
        let floor = lock(&app.core.floors.floors)
            .entry(tenant)
            .or_insert_with(|| {
                let (asks, inbox) = mpsc::channel(ASKS_MAX);
                let floor = task::Floor::new(app.clone(), shard, tenant);
                let stop = app.stop.clone();
                tokio::spawn(floor.run(inbox, stop));
                asks
            })
            .clone();
        floor.send(ask).await.map_err(|_| ErrorCode::Unavailable.into())
    }

    /// The same for what may be lost where the floor is far behind. False: there is none, for nobody was ever there.
    pub fn tell(&self, tenant: TenantId, ask: Ask) -> bool {
        let Some(floor) = lock(&self.floors).get(&tenant).cloned() else { return false };
        if let Err(error) = floor.try_send(ask) {
            tracing::debug!(%error, %tenant, "a tenant's floor is behind");
        }
        true
    }

    /// Whether the visitor is online on any edge; known while staff of the tenant are here.
    pub fn is_online(&self, tenant: TenantId, visitor: VisitorId) -> bool {
        lock(&self.online).get(&tenant).is_some_and(|online| online.contains(&visitor))
    }

    pub fn group_status(&self, tenant: TenantId, group: GroupId) -> Option<GroupStatus> {
        self.groups.get(tenant, group)
    }

    fn show(&self, tenant: TenantId, changes: &[online::Change]) {
        let mut online = lock(&self.online);
        let online = online.entry(tenant).or_default();
        for online::Change { is: visitor, .. } in changes {
            match visitor.online {
                true => online.insert(visitor.id),
                false => online.remove(&visitor.id),
            };
        }
    }

    fn forget(&self, tenant: TenantId) {
        lock(&self.online).remove(&tenant);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one insert or remove, so a panic elsewhere cannot leave it half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
