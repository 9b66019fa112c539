//! Telling the router which agents are connected here, as state.
//!
//! Invariant: each change gets a higher revision, and is sent again until the router answered that revision or a
//! later one; a digest every 10 s finds what differs all the same.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bus_schema::{
    AgentId, IncarnationId, Shard, TenantId,
    command::{Actor, Answer, Command, PresenceReport},
};
use ops::{chat, nats::Bus};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout_at},
};

/// Agents in one report.
const REPORT_MAX: usize = 200;
const ANSWER_WAIT: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(500);
const DIGEST_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Presence {
    incarnation: IncarnationId,
    bus: Bus,
    state: Mutex<State>,
    changed: Notify,
    answered: Notify,
}

#[derive(Debug, Default)]
struct State {
    rev: u64,
    agents: BTreeMap<(Shard, TenantId, AgentId), Told>,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    rev: u64,
    connections: u32,
    /// The revision that the router answered.
    answered: u64,
}

impl Told {
    const fn is_settled(&self) -> bool {
        self.answered >= self.rev
    }
}

impl Presence {
    pub fn new(bus: Bus, incarnation: IncarnationId) -> Self {
        Self { incarnation, bus, state: Mutex::default(), changed: Notify::new(), answered: Notify::new() }
    }

    /// The agent has so many connections here now.
    pub fn set(&self, shard: Shard, tenant: TenantId, agent: AgentId, connections: u32) {
        let mut state = self.lock();
        state.rev += 1;
        let rev = state.rev;
        let told =
            state.agents.entry((shard, tenant, agent)).or_insert(Told { rev, connections, answered: 0 });
        (told.rev, told.connections) = (rev, connections);
        drop(state);
        self.changed.notify_one();
    }

    /// Waits until the router knows of the agent's connections here, at most `wait`.
    pub async fn settled(&self, shard: Shard, tenant: TenantId, agent: AgentId, wait: Duration) -> bool {
        let key = (shard, tenant, agent);
        self.when(wait, |state| state.agents.get(&key).is_none_or(Told::is_settled)).await
    }

    /// Waits until the router knows of everybody's, at most `wait`.
    pub async fn all_settled(&self, wait: Duration) -> bool {
        self.when(wait, |state| state.agents.values().all(Told::is_settled)).await
    }

    async fn when(&self, wait: Duration, holds: impl Fn(&State) -> bool) -> bool {
        let end = Instant::now() + wait;
        loop {
            let answered = self.answered.notified();
            if holds(&self.lock()) {
                return true;
            }
            if timeout_at(end, answered).await.is_err() {
                return false;
            }
        }
    }

    /// Reports until it is dropped.
    pub async fn run(&self) {
        let mut digest_at = Instant::now() + DIGEST_EVERY;
        loop {
            let open = self.report().await;
            if Instant::now() >= digest_at {
                self.digest().await;
                digest_at = Instant::now() + DIGEST_EVERY.mul_f64(rand::random_range(0.8..1.2));
            }
            if open {
                sleep(RETRY).await;
            } else {
                let _ = timeout_at(digest_at, self.changed.notified()).await;
            }
        }
    }

    /// Sends what the router has not answered; says whether something is left.
    async fn report(&self) -> bool {
        let mut open = false;
        for ((shard, tenant), reports) in self.reports(|told| !told.is_settled()) {
            for reports in reports.chunks(REPORT_MAX) {
                let command = Command::Presence { incarnation: self.incarnation, agents: reports.to_vec() };
                let request = chat::command(Actor::SYSTEM, command);
                match chat::ask(&self.bus, shard, tenant, &request, ANSWER_WAIT).await {
                    Ok(_) => self.took(shard, tenant, reports),
                    Err(error) => {
                        tracing::debug!(%error, "the router did not take a presence report");
                        open = true;
                    }
                }
            }
        }
        open
    }

    async fn digest(&self) {
        for ((shard, tenant), reports) in self.reports(|told| told.connections > 0) {
            let command = Command::PresenceDigest { incarnation: self.incarnation, agents: reports };
            let request = chat::command(Actor::SYSTEM, command);
            let answer = chat::ask(&self.bus, shard, tenant, &request, ANSWER_WAIT).await;
            let Ok(Answer::PresenceDiffers { agents }) = answer else { continue };
            for agent in agents {
                let known = self.lock().agents.get(&(shard, tenant, agent)).map(|told| told.connections);
                self.set(shard, tenant, agent, known.unwrap_or(0));
            }
        }
        let _ = self.report().await;
    }

    fn reports(&self, which: impl Fn(&Told) -> bool) -> BTreeMap<(Shard, TenantId), Vec<PresenceReport>> {
        let mut reports: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for ((shard, tenant, agent_id), told) in &self.lock().agents {
            if which(told) {
                let Told { rev, connections, .. } = *told;
                let report = PresenceReport { agent_id: *agent_id, rev, connections };
                reports.entry((*shard, *tenant)).or_default().push(report);
            }
        }
        reports
    }

    fn took(&self, shard: Shard, tenant: TenantId, reports: &[PresenceReport]) {
        let mut state = self.lock();
        for report in reports {
            let key = (shard, tenant, report.agent_id);
            let Some(told) = state.agents.get_mut(&key) else { continue };
            told.answered = told.answered.max(report.rev);
            if told.connections == 0 && told.is_settled() {
                state.agents.remove(&key);
            }
        }
        drop(state);
        self.answered.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one insert or assignment, so a panic elsewhere cannot leave it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
