//! One queue: who waits, in order, and who could take the next, in order.
//!
//! Both orders are kept, never sorted anew, so a decision costs the same however many wait or serve.

use std::{cmp::Reverse, collections::BTreeSet};

use bus_schema::{
    AgentId, ConversationId, Timestamp,
    config::MemberPriority,
    state::{AgentState, Candidate, Priority, Refusal},
};

use super::{
    config::Automatic,
    settings::{CONVERSATIONS_PER_BATCH, TRIES_BEFORE_HALVING},
};

/// Order of waiting: priority, then since when, then the sequence of the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WaitKey {
    pub priority: Reverse<Priority>,
    pub since: Timestamp,
    pub since_seq: u64,
    pub conversation: ConversationId,
}

/// Order of being chosen: place in the group, then the strategy's measure, then longest without an assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgentKey {
    pub priority: MemberPriority,
    /// Share of capacity used, in 2⁻³² (equal fractions give equal shares); 0 in round robin.
    share: u64,
    last_assigned_at: Option<Timestamp>,
    pub agent: AgentId,
    /// What reasons say beside it; it settles no order.
    load: u32,
    capacity: u32,
}

impl AgentKey {
    pub fn new(strategy: Automatic, priority: MemberPriority, state: &AgentState) -> Self {
        let share = match strategy {
            Automatic::LeastLoaded => (u64::from(state.load()) << 32) / u64::from(state.capacity.max(1)),
            Automatic::RoundRobin => 0,
        };
        let (last_assigned_at, agent) = (state.last_assigned_at, state.agent_id);
        Self { priority, share, last_assigned_at, agent, load: state.load(), capacity: state.capacity }
    }

    pub fn candidate(&self, refused: Option<Refusal>) -> Candidate {
        Candidate {
            agent_id: self.agent,
            load: self.load,
            capacity: self.capacity,
            priority: self.priority,
            last_assigned_at: self.last_assigned_at,
            refused,
        }
    }
}

#[derive(Debug, Default)]
pub struct Queue {
    /// All that wait, except those for whom something else is being written.
    pub waiting: BTreeSet<WaitKey>,
    /// Of those, the ones nobody was told yet that they wait.
    pub unannounced: BTreeSet<WaitKey>,
    /// Agents who may take the next.
    pub eligible: BTreeSet<AgentKey>,
    /// The waiting in the order of lists.
    pub by_start: BTreeSet<ListKey>,
    /// Places that writes under way give up, an assignment or a close: whatever becomes of them, nobody overtakes.
    pub leaving: BTreeSet<WaitKey>,
    /// Assignments in a row that others were faster than.
    pub failures: u32,
}

impl Queue {
    pub fn is_unused(&self) -> bool {
        self.waiting.is_empty() && self.eligible.is_empty() && self.leaving.is_empty()
    }

    /// Somebody whose place is before this one may yet keep it.
    pub fn is_behind(&self, key: &WaitKey) -> bool {
        self.leaving.first().is_some_and(|leaves| leaves < key)
    }

    /// How many conversations to move at once.
    pub fn batch(&self) -> usize {
        (CONVERSATIONS_PER_BATCH >> (self.failures / TRIES_BEFORE_HALVING).min(8)).max(1)
    }

    /// How many wait and were told so.
    pub fn announced(&self) -> usize {
        self.waiting.len() - self.unannounced.len()
    }
}

/// Order of lists: start of the thread, then conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListKey {
    pub started_at: Timestamp,
    pub conversation: ConversationId,
}
