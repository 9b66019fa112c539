//! Agents that are connected here: their own state followed, their presence told to the router.

mod follow;
mod lease;
mod presence;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bus_schema::{AgentId, ConversationId, Shard, TenantId, state::AgentState};
use tokio::sync::{mpsc, watch};

use crate::{conn::Conn, core::Core, hub::Hub};

pub use lease::keep_lease;
pub use presence::Presence;

/// Requests that wait for one agent's task.
const ASKS_MAX: usize = 64;

/// All agents with a connection here.
#[derive(Debug)]
pub struct Agents {
    core: Arc<Core>,
    hub: Hub,
    pub presence: Arc<Presence>,
    connected: Mutex<HashMap<(TenantId, AgentId), Connected>>,
}

#[derive(Debug)]
struct Connected {
    asks: mpsc::Sender<follow::Ask>,
    state: watch::Receiver<Followed>,
    connections: u32,
}

/// An agent's state as far as it is known.
#[derive(Debug, Clone, PartialEq)]
pub enum Followed {
    NotYet,
    /// None: the router has not met the agent.
    Known(Option<Arc<AgentState>>),
}

/// One connection's hold on its agent; given back with [`Agents::leave`].
#[derive(Debug)]
pub struct Hold {
    shard: Shard,
    pub tenant: TenantId,
    pub agent: AgentId,
    asks: mpsc::Sender<follow::Ask>,
    state: watch::Receiver<Followed>,
}

impl Agents {
    pub fn new(core: Arc<Core>, hub: Hub, presence: Arc<Presence>) -> Self {
        Self { core, hub, presence, connected: Mutex::default() }
    }

    /// A connection of the agent is here.
    pub fn enter(&self, tenant: TenantId, agent: AgentId) -> Option<Hold> {
        let shard = self.core.directory.now().tenant(tenant)?.shard;
        let log = self.core.log(shard)?.clone();
        let mut connected = self.lock();
        let entry = connected.entry((tenant, agent)).or_insert_with(|| {
            let (asks, inbox) = mpsc::channel(ASKS_MAX);
            let (state, followed) = watch::channel(Followed::NotYet);
            let following = follow::Following::new(self.hub.clone(), log, tenant, agent, state);
            // Ends when the last connection leaves and drops `asks`.
            tokio::spawn(following.run(inbox));
            Connected { asks, state: followed, connections: 0 }
        });
        entry.connections += 1;
        self.presence.set(shard, tenant, agent, entry.connections);
        Some(Hold { shard, tenant, agent, asks: entry.asks.clone(), state: entry.state.clone() })
    }

    /// The connection is gone.
    pub fn leave(&self, hold: &Hold) {
        let mut connected = self.lock();
        let key = (hold.tenant, hold.agent);
        let Some(entry) = connected.get_mut(&key) else { return };
        entry.connections -= 1;
        let left = entry.connections;
        if left == 0 {
            connected.remove(&key);
        }
        self.presence.set(hold.shard, hold.tenant, hold.agent, left);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(TenantId, AgentId), Connected>> {
        // Each change is one insert, count or remove, so a panic elsewhere cannot leave it half done.
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// The agent's state, once it was read.
    pub async fn state(&mut self) -> Option<Arc<AgentState>> {
        match self.state.wait_for(|state| *state != Followed::NotYet).await.as_deref() {
            Ok(Followed::Known(state)) => state.clone(),
            Ok(Followed::NotYet) | Err(_) => None,
        }
    }

    /// From now on the connection joins and leaves as the agent's state says; it has joined `joined`.
    pub async fn attach(&self, conn: Arc<Conn>, joined: Vec<ConversationId>) {
        let _ = self.asks.send(follow::Ask::Attach { conn, joined }).await;
    }

    pub async fn detach(&self, conn: u64) {
        let _ = self.asks.send(follow::Ask::Detach { conn }).await;
    }
}
