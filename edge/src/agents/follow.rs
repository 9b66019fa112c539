//! Following one agent's state: what the agent holds is what its connections see.
//!
//! Invariant: every connection of the agent ends with exactly the conversations of the newest state, joined and told.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bus_schema::{
    AgentId, Audience, Author, ConversationId, Event, Subject, TenantId, command::View, state::AgentState,
    subject::ConversationSubjects,
};
use futures::StreamExt as _;
use ops::log::{Log, StoredMsg};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::Followed;
use crate::{
    conn::Conn,
    hub::{self, Hub, Join, Then},
};

/// How often the leader is asked, because a lost last copy is followed by none.
const CHECK_EVERY: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(500);

#[derive(Debug)]
pub enum Ask {
    Attach { conn: Arc<Conn>, joined: Vec<ConversationId> },
    Detach { conn: u64 },
}

pub struct Following {
    hub: Hub,
    log: Log,
    tenant: TenantId,
    agent: AgentId,
    subject: Subject,
    followed: watch::Sender<Followed>,
    seq: u64,
    attached: Vec<Attached>,
}

struct Attached {
    conn: Arc<Conn>,
    joined: BTreeSet<ConversationId>,
}

impl Following {
    pub fn new(
        hub: Hub,
        log: Log,
        tenant: TenantId,
        agent: AgentId,
        followed: watch::Sender<Followed>,
    ) -> Self {
        let subject = Subject::Agent { shard: log.shard(), tenant, agent };
        Self { hub, log, tenant, agent, subject, followed, seq: 0, attached: Vec::new() }
    }

    pub async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        let mut bus = self.log.bus().state.clone();
        let mut live = None;
        let mut look_at = Instant::now();
        loop {
            if live.is_none() {
                live = self.log.bus().client.subscribe(self.subject.live()).await.ok();
            }
            let copy = async {
                match &mut live {
                    Some(live) => live.next().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ask = asks.recv() => match ask {
                    None => return,
                    Some(ask) => self.on_ask(ask).await,
                },
                message = copy => match message.as_ref().and_then(ops::log::live) {
                    Some(copy) => self.on_message(&copy.stored).await,
                    None => live = None,
                },
                changed = bus.changed() => match changed {
                    Ok(()) => look_at = Instant::now(),
                    Err(_) => return,
                },
                () = sleep_until(look_at) => {
                    let done = self.look().await;
                    let pause = if done { CHECK_EVERY.mul_f64(rand::random_range(0.8..1.2)) } else { RETRY };
                    look_at = Instant::now() + pause;
                }
            }
        }
    }

    /// Asks the leader; says whether it answered.
    async fn look(&mut self) -> bool {
        match self.log.last(&self.subject.to_string()).await {
            Ok(Some(message)) => {
                self.on_message(&message).await;
                true
            }
            Ok(None) => {
                self.followed.send_if_modified(|followed| {
                    let first = *followed == Followed::NotYet;
                    if first {
                        *followed = Followed::Known(None);
                    }
                    first
                });
                true
            }
            Err(_) => false,
        }
    }

    async fn on_message(&mut self, message: &StoredMsg) {
        if message.seq <= self.seq {
            return;
        }
        let event = Event::decode(&message.payload);
        let Some(state) = event.as_ref().ok().and_then(|event| event.body.agent_state()) else {
            tracing::error!(seq = message.seq, "an agent's state cannot be read");
            return;
        };
        self.seq = message.seq;
        let state = Arc::new(state.clone());
        self.followed.send_replace(Followed::Known(Some(state.clone())));
        self.reconcile(&state).await;
    }

    async fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Attach { conn, joined } => {
                self.attached.push(Attached { conn, joined: joined.into_iter().collect() });
                let state = match &*self.followed.borrow() {
                    Followed::Known(Some(state)) => state.clone(),
                    Followed::Known(None) | Followed::NotYet => return,
                };
                self.reconcile(&state).await;
            }
            Ask::Detach { conn } => self.attached.retain(|attached| attached.conn.id != conn),
        }
    }

    async fn reconcile(&mut self, state: &AgentState) {
        let wanted: BTreeSet<_> = state.conversations.iter().map(|held| held.conversation_id).collect();
        for attached in &mut self.attached {
            for gone in attached.joined.difference(&wanted) {
                let home = home(&self.log, self.tenant, *gone);
                self.hub.leave(home, Audience::Staff, attached.conn.id, View::Mine).await;
            }
            for new in wanted.difference(&attached.joined) {
                let home = home(&self.log, self.tenant, *new);
                let join = Join {
                    home,
                    audience: Audience::Staff,
                    conn: attached.conn.clone(),
                    viewer: Author::agent(self.agent),
                    resume: None,
                    then: Then::Announce(View::Mine),
                };
                let _ = self.hub.ask(home, hub::Ask::Join(join)).await;
            }
            attached.joined.clone_from(&wanted);
        }
    }
}

fn home(log: &Log, tenant: TenantId, conversation: ConversationId) -> ConversationSubjects {
    ConversationSubjects { shard: log.shard(), tenant, conversation }
}
