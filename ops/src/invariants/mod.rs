//! What must always hold, checked over a slice of the log (design §4; the names are those of `docs/ARCHITECTURE.md`).
//!
//! Pure: it is given the log's messages in order, and the configuration where an invariant needs it, and says what is
//! violated and where. Tests use it after every fault they make; it works on a copy of any real log as well.

mod agents;
mod threads;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use bus_schema::{
    ConversationId, Event, EventId, GroupId, Subject, Timestamp,
    config::{GroupRecord, MemberPriority},
    state::{AgentState, AgentStatus, Strategy},
};

/// One message of the log.
#[derive(Debug, Clone)]
pub struct Logged {
    pub seq: u64,
    pub at: Timestamp,
    pub subject: Subject,
    pub event: Event,
}

/// An invariant of design §4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    AckedIsStored,
    OneThread,
    OneAssignee,
    NeverOverCapacity,
    NoIdleQueue,
    Fifo,
    ClosedIsClosed,
    Explained,
    /// Not an invariant of its own: the log holds what no writer may write.
    WellFormed,
}

impl Invariant {
    pub const fn name(self) -> &'static str {
        match self {
            Invariant::AckedIsStored => "acked-is-stored",
            Invariant::OneThread => "one-thread",
            Invariant::OneAssignee => "one-assignee",
            Invariant::NeverOverCapacity => "never-over-capacity",
            Invariant::NoIdleQueue => "no-idle-queue",
            Invariant::Fifo => "fifo",
            Invariant::ClosedIsClosed => "closed-is-closed",
            Invariant::Explained => "explained",
            Invariant::WellFormed => "well-formed",
        }
    }
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub invariant: Invariant,
    /// Where in the log it shows; 0 for the state at its end.
    pub seq: u64,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.invariant.name(), self.seq, self.what)
    }
}

/// What a log showed.
#[derive(Debug, Default)]
pub struct Report {
    pub violations: Vec<Violation>,
    pub events: usize,
    pub conversations: usize,
    pub threads: usize,
    pub open_threads: usize,
    /// Later entries with an id that an earlier one has: allowed (a retry beyond the duplicate window), readers drop them.
    pub copies: usize,
    pub unknown: usize,
}

/// Checks a whole log, in order. `groups` are needed for `no-idle-queue` at its end; without them it is not checked.
pub fn check(log: &[Logged], groups: &BTreeMap<GroupId, GroupRecord>) -> Report {
    let mut report = Report { events: log.len(), ..Report::default() };
    let mut threads = threads::Threads::default();
    let mut agents = agents::Agents::default();
    let mut ids: BTreeSet<(Option<ConversationId>, EventId)> = BTreeSet::new();
    for logged in log {
        if logged.event.body.kind().is_none() {
            report.unknown += 1;
        }
        if !ids.insert((logged.event.conversation_id, logged.event.id)) {
            report.copies += 1;
            continue;
        }
        match logged.subject {
            Subject::Conversation { conversation, lane, .. } => {
                threads.apply((conversation, lane), logged, &agents, &mut report.violations);
            }
            Subject::Agent { agent, .. } => agents.apply(agent, logged, &mut report.violations),
            Subject::Visitor { .. } => {}
        }
    }
    threads.at_end(&agents, &mut report.violations);
    no_idle_queue(&threads, &agents, groups, &mut report.violations);
    report.conversations = threads.conversations();
    report.threads = threads.started();
    report.open_threads = threads.open().count();
    report
}

/// Checks that each acknowledged send is in the log at the sequence that was said.
pub fn check_acked(log: &[Logged], acked: impl IntoIterator<Item = (EventId, u64)>) -> Vec<Violation> {
    let by_seq: BTreeMap<u64, EventId> = log.iter().map(|logged| (logged.seq, logged.event.id)).collect();
    let missing = |(id, seq): (EventId, u64)| {
        let what = match by_seq.get(&seq) {
            Some(found) if *found == id => return None,
            Some(found) => format!("{id} was acknowledged there, {found} is there"),
            None => format!("{id} was acknowledged there, nothing is there"),
        };
        Some(Violation { invariant: Invariant::AckedIsStored, seq, what })
    };
    acked.into_iter().filter_map(missing).collect()
}

fn no_idle_queue(
    threads: &threads::Threads,
    agents: &agents::Agents,
    groups: &BTreeMap<GroupId, GroupRecord>,
    violations: &mut Vec<Violation>,
) {
    for (conversation, thread) in threads.open() {
        let Some(group) = thread.waiting_in().and_then(|id| groups.get(&id)) else { continue };
        // There it waits for somebody to take it, or for the group to open.
        if matches!(group.strategy, Strategy::Manual | Strategy::Broadcast) || group.routing.hours.is_some() {
            continue;
        }
        let below_limit = |state: &AgentState| {
            group.routing.agent_max.is_none_or(|max| state.held_in(group.group_id) < max)
        };
        let free = group
            .members
            .iter()
            .filter(|member| member.priority != MemberPriority::Supervisor)
            .filter_map(|member| agents.get(member.agent_id))
            .find(|state| {
                let free = state.seen_status() == AgentStatus::Accepting && state.has_room();
                free && below_limit(state) && !state.deleted
            });
        if let Some(state) = free {
            let (agent, load, capacity) = (state.agent_id, state.load(), state.capacity);
            violations.push(Violation {
                invariant: Invariant::NoIdleQueue,
                seq: 0,
                what: format!(
                    "{conversation} waits while {agent} holds {load} of {capacity}: {:?}",
                    state.presence
                ),
            });
        }
    }
}

#[cfg(test)]
mod tests;
