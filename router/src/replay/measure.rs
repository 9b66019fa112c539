//! Waits, use and fairness of a run, recorded or played: both are told by the same events.

use std::collections::{BTreeMap, BTreeSet};

use bus_schema::{
    AgentId, Body, Event, GroupId, ThreadId, Timestamp,
    state::{AgentState, AgentStatus, LifeState, ThreadStatus},
};
use serde::Serialize;

use super::recording::Roots;

/// Follows a run.
#[derive(Debug)]
pub struct Measure {
    from: Timestamp,
    /// Groups whose threads are not counted.
    people: BTreeSet<GroupId>,
    left_out: usize,
    threads: BTreeMap<ThreadId, Thread>,
    agents: BTreeMap<AgentId, Agent>,
    roots: Roots,
}

#[derive(Debug)]
struct Thread {
    started: Timestamp,
    assigned: Option<Timestamp>,
    closed: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Agent {
    load: u32,
    room: u32,
    since: Timestamp,
    /// Milliseconds × conversations: held, and that could have been held while accepting.
    held_ms: u64,
    room_ms: u64,
    assigned: u64,
    had: BTreeSet<ThreadId>,
}

/// What a run came to. Times are seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    pub threads: usize,
    pub assigned: usize,
    /// Closed before anybody had them.
    pub unserved: usize,
    pub wait_mean_s: f64,
    pub wait_p50_s: f64,
    pub wait_p95_s: f64,
    pub wait_max_s: f64,
    /// Conversations held, of those that agents who accepted chats had room for.
    pub use_share: f64,
    /// Jain's index of assignments over agents who accepted chats: 1 is even.
    pub fairness: f64,
    pub assigned_least: u64,
    pub assigned_most: u64,
}

impl Measure {
    /// Of what starts at `from` or later, and in no group that is left to `people`.
    pub fn new(from: Timestamp, people: BTreeSet<GroupId>) -> Self {
        let (threads, agents) = (BTreeMap::new(), BTreeMap::new());
        Self { from, people, left_out: 0, threads, agents, roots: Roots::default() }
    }

    /// How many threads were not counted for their group.
    pub const fn left_out(&self) -> usize {
        self.left_out
    }

    pub fn see(&mut self, event: &Event, at: Timestamp) {
        if let Some(state) = event.body.agent_state() {
            self.agent(state, at);
        }
        if let Some(state) = event.body.life_state() {
            self.life(&event.body, state, at);
        }
    }

    fn life(&mut self, body: &Body, state: &LifeState, at: Timestamp) {
        let id = self.roots.of(state);
        if matches!(body, Body::Started(_) | Body::Reopened(_)) && !state.continues {
            if state.group_id.is_some_and(|group| self.people.contains(&group)) {
                self.left_out += usize::from(at >= self.from);
                return;
            }
            self.threads.insert(id, Thread { started: at, assigned: None, closed: None });
        }
        let Some(thread) = self.threads.get_mut(&id) else { return };
        thread.closed = (state.status == ThreadStatus::Closed).then_some(at);
        if let Some(agent) = state.assignee_id {
            thread.assigned.get_or_insert(at);
            let counts = thread.started >= self.from;
            let agent = self.agents.entry(agent).or_default();
            if counts && agent.had.insert(id) {
                agent.assigned += 1;
            }
        }
    }

    fn agent(&mut self, state: &AgentState, at: Timestamp) {
        let agent = self.agents.entry(state.agent_id).or_default();
        agent.pass(self.from, at);
        let accepts = state.seen_status() == AgentStatus::Accepting && !state.deleted;
        agent.load = state.load();
        // Who stopped accepting still has what they have.
        agent.room = if accepts { state.capacity.max(state.load()) } else { state.load() };
    }

    /// The figures at the end of the run.
    pub fn figures(mut self, end: Timestamp) -> Figures {
        self.agents.values_mut().for_each(|agent| agent.pass(self.from, end));
        let counted: Vec<&Thread> = self.threads.values().filter(|t| t.started >= self.from).collect();
        let wait = |thread: &&Thread| thread.assigned.map(|at| at.since(thread.started).as_secs_f64());
        let mut waits: Vec<f64> = counted.iter().filter_map(wait).collect();
        waits.sort_by(f64::total_cmp);
        let unserved = |thread: &&&Thread| thread.assigned.is_none() && thread.closed.is_some();
        let working: Vec<u64> =
            self.agents.values().filter(|agent| agent.room_ms > 0).map(|agent| agent.assigned).collect();
        let sum = |of: fn(&Agent) -> u64| self.agents.values().map(of).sum::<u64>() as f64;
        let room = sum(|agent| agent.room_ms);
        Figures {
            threads: counted.len(),
            assigned: waits.len(),
            unserved: counted.iter().filter(unserved).count(),
            wait_mean_s: waits.iter().sum::<f64>() / (waits.len().max(1) as f64),
            wait_p50_s: share_of(&waits, 0.5),
            wait_p95_s: share_of(&waits, 0.95),
            wait_max_s: share_of(&waits, 1.0),
            use_share: if room > 0.0 { sum(|agent| agent.held_ms) / room } else { 0.0 },
            fairness: jain(&working),
            assigned_least: working.iter().copied().min().unwrap_or(0),
            assigned_most: working.iter().copied().max().unwrap_or(0),
        }
    }
}

impl Agent {
    fn pass(&mut self, from: Timestamp, at: Timestamp) {
        let since = self.since.max(from);
        let passed = u64::try_from(at.since(since).as_millis()).unwrap_or(u64::MAX);
        if self.since > Timestamp::default() && at > since {
            self.held_ms += passed * u64::from(self.load);
            self.room_ms += passed * u64::from(self.room);
        }
        self.since = at;
    }
}

/// The value that this share of `sorted` does not exceed.
fn share_of(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(0.0)
}

fn jain(counts: &[u64]) -> f64 {
    let sum: f64 = counts.iter().map(|count| *count as f64).sum();
    let squares: f64 = counts.iter().map(|count| (*count as f64).powi(2)).sum();
    if squares > 0.0 { sum * sum / (counts.len() as f64 * squares) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_is_one_where_all_have_the_same() {
        assert!((jain(&[3, 3, 3]) - 1.0).abs() < 1e-9);
        assert!((jain(&[9, 0, 0]) - 1.0 / 3.0).abs() < 1e-9);
        assert!((jain(&[]) - 1.0).abs() < 1e-9, "nobody was treated unfairly");
    }

    #[test]
    fn percentiles_of_few_values_are_some_of_them() {
        let sorted = [1.0, 2.0, 10.0];
        assert_eq!([0.0, 0.5, 0.95, 1.0].map(|share| share_of(&sorted, share)), [1.0, 2.0, 10.0, 10.0]);
        assert_eq!(share_of(&[], 0.5), 0.0);
    }
}
