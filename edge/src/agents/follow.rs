//! Following what is one agent's own: what the agent holds, takes part in, and watches.
//!
//! Invariant: every connection of the agent ends with exactly the conversations that are its own by the log. What the
//! agent holds comes from the agent's state; that it takes part in more is a hint, from wherever it is heard, and each
//! conversation's own state decides at the hub's gate.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bus_schema::{
    AgentId, ConversationId, ErrorBody, Event, Subject, TenantId,
    claims::Role,
    command::{Actor, Answer, Command, View},
    limits::PAGE_MAX,
    state::AgentState,
};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use ops::{
    chat,
    log::{Log, StoredMsg},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{
    Followed,
    attached::{Ask, Attached, Own},
};
use crate::hub::{Ended, Hub};

/// How often the leader is asked, because a lost last copy is followed by none.
const CHECK_EVERY: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(500);
/// How often the router is asked in what the agent takes part, because a lost signal is followed by none.
const LIST_EVERY: Duration = Duration::from_secs(30);
const LIST_RETRY: Duration = Duration::from_secs(5);
const LIST_WAIT: Duration = Duration::from_millis(500);
/// A conversation that ended for a connection, and is the agent's by what was heard last, is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);
/// Conversations in which one agent takes part beside those held; of more, nothing is announced.
const TAKES_PART_MAX: usize = 500;
/// Ends of connections that are not attached yet.
const EARLY_MAX: usize = 1_000;

type Listed = Result<Answer, ErrorBody>;

pub struct Following {
    hub: Hub,
    log: Log,
    tenant: TenantId,
    agent: AgentId,
    followed: watch::Sender<Followed>,
    seq: u64,
    own: Own,
    attached: Vec<Attached>,
    /// What ended for connections that were still logging in.
    early: BTreeSet<(u64, ConversationId)>,
    again_at: Option<Instant>,
}

impl Following {
    pub fn new(
        hub: Hub,
        log: Log,
        tenant: TenantId,
        agent: AgentId,
        followed: watch::Sender<Followed>,
    ) -> Self {
        Self {
            hub,
            log,
            tenant,
            agent,
            followed,
            seq: 0,
            own: Own::default(),
            attached: Vec::new(),
            early: BTreeSet::new(),
            again_at: None,
        }
    }

    pub async fn run(mut self, mut asks: mpsc::Receiver<Ask>, mut ended: mpsc::Receiver<Ended>) {
        let subject = Subject::Agent { shard: self.log.shard(), tenant: self.tenant, agent: self.agent };
        let mut bus = self.log.bus().state.clone();
        let mut live = None;
        let mut look_at = Instant::now();
        let mut list_at = Instant::now();
        let mut listing: Option<BoxFuture<'static, Listed>> = None;
        loop {
            if live.is_none() {
                live = self.log.bus().client.subscribe(subject.live()).await.ok();
            }
            let copy = async {
                match &mut live {
                    Some(live) => live.next().await,
                    None => std::future::pending().await,
                }
            };
            let (idle, again_at) = (listing.is_none(), self.again_at);
            let listed = async {
                match &mut listing {
                    Some(listing) => listing.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ask = asks.recv() => match ask {
                    None => return,
                    Some(ask) => self.on_ask(ask).await,
                },
                Some(ended) = ended.recv() => self.on_ended(ended),
                message = copy => match message.as_ref().and_then(ops::log::live) {
                    Some(copy) => self.on_message(&copy.stored).await,
                    None => live = None,
                },
                changed = bus.changed() => match changed {
                    Ok(()) => (look_at, list_at) = (Instant::now(), Instant::now()),
                    Err(_) => return,
                },
                () = sleep_until(look_at) => {
                    let done = self.look(&subject).await;
                    let pause = if done { CHECK_EVERY.mul_f64(rand::random_range(0.8..1.2)) } else { RETRY };
                    look_at = Instant::now() + pause;
                }
                () = sleep_until(list_at), if idle => listing = Some(self.list()),
                answer = listed => {
                    listing = None;
                    let pause = if answer.is_ok() { LIST_EVERY } else { LIST_RETRY };
                    list_at = Instant::now() + pause.mul_f64(rand::random_range(0.8..1.2));
                    self.on_listed(answer).await;
                }
                () = sleep_until(again_at.unwrap_or(look_at)), if again_at.is_some() => {
                    self.again_at = None;
                    self.own.doubted.clear();
                    self.reconcile().await;
                }
            }
        }
    }

    /// Asks the leader; says whether it answered.
    async fn look(&mut self, subject: &Subject) -> bool {
        let found = self.log.last(&subject.to_string()).await;
        if found.is_ok() {
            self.own.refused.clear();
        }
        match found {
            Ok(Some(message)) => self.on_message(&message).await,
            Ok(None) => {
                self.followed.send_if_modified(|followed| {
                    let first = followed.state.is_none();
                    followed.state.get_or_insert(None);
                    first
                });
            }
            Err(_) => return false,
        }
        self.reconcile().await;
        true
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
        self.own.hold(state);
        let state: Arc<AgentState> = Arc::new(state.clone());
        self.followed.send_modify(|followed| followed.state = Some(Some(state)));
        self.reconcile().await;
    }

    /// Asks the router in what the agent takes part.
    fn list(&self) -> BoxFuture<'static, Listed> {
        let (bus, shard, tenant) = (self.log.bus().clone(), self.log.shard(), self.tenant);
        let limit = u32::try_from(PAGE_MAX).unwrap_or(u32::MAX);
        let command = Command::ListConversations { view: View::Mine, group_id: None, limit, cursor: None };
        // What is one's own does not depend on the role.
        let request = chat::command(Actor::agent(self.agent, Role::Agent), command);
        async move { chat::ask(&bus, shard, tenant, &request, LIST_WAIT).await }.boxed()
    }

    async fn on_listed(&mut self, answer: Listed) {
        if let Ok(Answer::Conversations { conversations, .. }) = answer {
            for conversation in conversations {
                if conversation.participants.contains(&self.agent) {
                    self.heard(conversation.id);
                }
            }
        }
        let takes_part = Arc::new(self.own.takes_part.clone());
        self.followed.send_modify(|followed| followed.takes_part = Some(takes_part));
        self.reconcile().await;
    }

    fn heard(&mut self, conversation: ConversationId) {
        if self.own.takes_part.len() < TAKES_PART_MAX {
            self.own.takes_part.insert(conversation);
            self.own.refused.remove(&conversation);
        }
    }

    async fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Attach(mut attached) => {
                for (_, conversation) in self.early.extract_if(.., |(conn, _)| *conn == attached.conn.id) {
                    attached.follows.remove(&conversation);
                }
                self.attached.push(attached);
            }
            Ask::Detach { conn } => {
                self.attached.retain(|attached| attached.conn.id != conn);
                self.early.retain(|(early, _)| *early != conn);
                return;
            }
            Ask::TakesPart { conversation } => self.heard(conversation),
            Ask::Watch { conn, conversation, done } => {
                let attached = self.attached.iter_mut().find(|attached| attached.conn.id == conn);
                let _ = done.send(attached.is_some_and(|attached| attached.watch(conversation)));
            }
            Ask::Unwatch { conn, conversation } => {
                let attached = self.attached.iter_mut().find(|attached| attached.conn.id == conn);
                if attached.is_some_and(|attached| attached.unwatch(conversation)) {
                    self.hub.recheck(super::home(&self.log, self.tenant, conversation)).await;
                }
            }
        }
        self.reconcile().await;
    }

    fn on_ended(&mut self, ended: Ended) {
        let Ended { conn, conversation, refused } = ended;
        let Some(attached) = self.attached.iter_mut().find(|attached| attached.conn.id == conn) else {
            if self.early.len() < EARLY_MAX {
                self.early.insert((conn, conversation));
            }
            return;
        };
        if attached.follows.remove(&conversation).is_none() {
            return;
        }
        if refused {
            attached.watched.remove(&conversation);
            self.own.takes_part.remove(&conversation);
            self.own.refused.insert(conversation);
        } else {
            // By the next time the agent's own state has come, which says mostly that it is over.
            self.own.doubted.insert(conversation);
            self.again_at.get_or_insert_with(|| Instant::now() + AGAIN);
        }
    }

    async fn reconcile(&mut self) {
        for attached in &mut self.attached {
            for gone in attached.gone(&self.own) {
                let home = super::home(&self.log, self.tenant, gone);
                self.hub.leave(home, bus_schema::Audience::Staff, attached.conn.id, View::Mine).await;
            }
            for new in attached.fresh(&self.own) {
                let home = super::home(&self.log, self.tenant, new);
                let _ = self.hub.ask(home, attached.join(home)).await;
            }
        }
    }
}
