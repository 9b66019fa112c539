//! Agents that are connected here: their own state followed, their presence told to the router.

mod attached;
mod follow;
mod lease;
mod presence;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bus_schema::{
    AgentId, Author, ConversationId, ErrorBody, ErrorCode, Shard, TenantId, state::AgentState,
    subject::ConversationSubjects,
};
use ops::log::Log;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use crate::{
    conn::Conn,
    core::Core,
    hub::{Ended, Gate, Hub, Sender},
};

pub use attached::WATCHED_MAX;
use attached::{Ask, Attached};
pub use lease::keep_lease;
pub use presence::Presence;

/// Requests that wait for one agent's task.
const ASKS_MAX: usize = 256;
/// Conversations that end for an agent's connections at once, before its task has heard of them.
const ENDED_MAX: usize = 4_096;

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
    asks: mpsc::Sender<Ask>,
    ended: mpsc::Sender<Ended>,
    followed: watch::Receiver<Followed>,
    connections: u32,
}

/// What is known of an agent; none: not yet.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Followed {
    /// Inside none: the router has not met the agent.
    state: Option<Option<Arc<AgentState>>>,
    /// Conversations in which the agent takes part, beside those held, as the router says; empty without its word.
    takes_part: Option<Arc<BTreeSet<ConversationId>>>,
}

/// One connection's hold on its agent; given back with [`Agents::leave`].
#[derive(Debug)]
pub struct Hold {
    shard: Shard,
    pub tenant: TenantId,
    pub agent: AgentId,
    asks: mpsc::Sender<Ask>,
    ended: mpsc::Sender<Ended>,
    followed: watch::Receiver<Followed>,
    left: AtomicBool,
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
            let (ended, endings) = mpsc::channel(ENDED_MAX);
            let (told, followed) = watch::channel(Followed::default());
            let following = follow::Following::new(self.hub.clone(), log, tenant, agent, told);
            // Ends when the last connection leaves and drops `asks`.
            tokio::spawn(following.run(inbox, endings));
            Connected { asks, ended, followed, connections: 0 }
        });
        entry.connections += 1;
        self.presence.set(shard, tenant, agent, entry.connections);
        let (asks, ended) = (entry.asks.clone(), entry.ended.clone());
        let followed = entry.followed.clone();
        Some(Hold { shard, tenant, agent, asks, ended, followed, left: AtomicBool::new(false) })
    }

    /// The connection is gone; said again, it changes nothing.
    pub fn leave(&self, hold: &Hold) {
        if hold.left.swap(true, Ordering::Relaxed) {
            return;
        }
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

    /// Agents of the tenant that are here; which of them take part is known by who asks.
    pub fn takes_part(&self, tenant: TenantId, agents: &[AgentId], conversation: ConversationId) {
        let connected = self.lock();
        for agent in agents {
            if let Some(entry) = connected.get(&(tenant, *agent)) {
                // Lost where the task is behind: it asks the router by itself, too.
                let _ = entry.asks.try_send(Ask::TakesPart { conversation });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(TenantId, AgentId), Connected>> {
        // Each change is one insert, count or remove, so a panic elsewhere cannot leave it half done.
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// The agent's state, once it was read.
    pub async fn state(&mut self) -> Option<Arc<AgentState>> {
        let known = self.followed.wait_for(|followed| followed.state.is_some()).await;
        known.ok().and_then(|followed| followed.state.clone().flatten())
    }

    /// In what the agent takes part beside what it holds, as far as the router says so within `wait`.
    pub async fn takes_part(&mut self, wait: Duration) -> Arc<BTreeSet<ConversationId>> {
        let known = timeout(wait, self.followed.wait_for(|followed| followed.takes_part.is_some())).await;
        known.ok().and_then(Result::ok).and_then(|followed| followed.takes_part.clone()).unwrap_or_default()
    }

    /// The terms on which a connection of the agent follows a conversation.
    pub fn gate(&self, sender: Sender, watches: bool) -> Gate {
        Gate { sender, watches: Arc::new(AtomicBool::new(watches)), ended: self.ended.clone() }
    }

    /// From now on the connection joins and leaves as the agent's state says; it has joined `follows`.
    pub async fn attach(&self, conn: Arc<Conn>, sender: Sender, follows: BTreeMap<ConversationId, Gate>) {
        let watched = follows.iter().filter(|(_, gate)| gate.is_watched()).map(|(id, _)| *id).collect();
        let follows = follows.into_iter().map(|(id, gate)| (id, gate.watches)).collect();
        let (viewer, ended) = (Author::agent(self.agent), self.ended.clone());
        let attached = Attached { conn, sender, viewer, ended, follows, watched };
        let _ = self.asks.send(Ask::Attach(attached)).await;
    }

    pub async fn detach(&self, conn: u64) {
        let _ = self.asks.send(Ask::Detach { conn }).await;
    }

    /// The agent takes part in it from now on, by the router's word.
    pub async fn takes_part_in(&self, conversation: ConversationId) {
        let _ = self.asks.send(Ask::TakesPart { conversation }).await;
    }

    /// Has the connection follow a conversation that the agent may see.
    pub async fn watch(&self, conn: u64, conversation: ConversationId) -> Result<(), ErrorBody> {
        let (done, watched) = oneshot::channel();
        let ask = Ask::Watch { conn, conversation, done };
        self.asks.send(ask).await.map_err(|_| ErrorCode::Unavailable)?;
        match watched.await {
            Ok(true) => Ok(()),
            Ok(false) => {
                let most = format!("a connection watches at most {WATCHED_MAX} conversations");
                Err(ErrorBody::new(ErrorCode::Conflict, most))
            }
            Err(_) => Err(ErrorCode::Unavailable.into()),
        }
    }

    pub async fn unwatch(&self, conn: u64, conversation: ConversationId) {
        let _ = self.asks.send(Ask::Unwatch { conn, conversation }).await;
    }
}

fn home(log: &Log, tenant: TenantId, conversation: ConversationId) -> ConversationSubjects {
    ConversationSubjects { shard: log.shard(), tenant, conversation }
}
