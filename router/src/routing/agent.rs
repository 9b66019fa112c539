//! One agent: the last state, what is being written over it, and what is known beside it.

use std::{collections::BTreeMap, time::Duration};

use bus_schema::{
    Event, IncarnationId, Timestamp,
    config::AgentRecord,
    protocol::AgentView,
    state::{AgentState, AgentStatus, Extra, Presence, RoutingStatus},
};

use super::{
    lease::Leases,
    queue::AgentKey,
    slot::{Lock, QueueId},
    unknown,
};

#[derive(Debug, Default)]
pub struct Agent {
    pub seq: u64,
    /// Up to where it is known that nothing newer was there.
    pub as_of: u64,
    stored: Option<Box<AgentState>>,
    pub pending: Option<Box<AgentState>>,
    unreadable: bool,
    pub lock: Lock,
    /// New numbers of connections that are not worth a write of their own.
    soft: BTreeMap<IncarnationId, Presence>,
    soft_due: Option<Timestamp>,
    /// Where it stands in the tenant's indexes.
    pub keys: Vec<(QueueId, AgentKey)>,
    pub due: Option<Timestamp>,
    pub named: Vec<IncarnationId>,
    /// What others were last told.
    pub told: Option<AgentView>,
}

impl Agent {
    /// The state, with what is being written.
    pub fn state(&self) -> Option<&AgentState> {
        self.pending.as_deref().or(self.stored.as_deref())
    }

    /// The state as it is stored.
    pub fn stored(&self) -> Option<&AgentState> {
        self.stored.as_deref()
    }

    /// What others see of the agent as stored; none of one who was removed.
    pub fn view(&self) -> Option<AgentView> {
        let state = self.stored().filter(|state| !state.deleted)?;
        let (id, status) = (state.agent_id, state.seen_status());
        Some(AgentView { id, status, load: state.load(), capacity: state.capacity })
    }

    pub fn is_frozen(&self) -> bool {
        self.unreadable
    }

    /// May be given a chat by a rule.
    pub fn is_free(&self, record: Option<&AgentRecord>) -> bool {
        let free = |state: &AgentState| {
            state.seen_status() == AgentStatus::Accepting && state.has_room() && !state.deleted
        };
        !self.unreadable
            && !self.lock.is_paused()
            && record.is_none_or(|record| !record.deleted)
            && self.state().is_some_and(free)
    }

    pub fn read(&mut self, seq: u64, event: Option<&Event>) {
        self.seq = seq;
        let state =
            event.and_then(|event| event.body.agent_state().cloned().or_else(|| unknown::state(&event.body)));
        self.unreadable = state.is_none();
        if let Some(state) = state {
            self.set(state);
        }
    }

    pub fn wrote(&mut self, seq: u64) {
        if seq > self.seq
            && let Some(state) = self.pending.take()
        {
            self.seq = seq;
            self.set(*state);
        }
    }

    fn set(&mut self, state: AgentState) {
        self.soft.retain(|incarnation, soft| {
            state.presence.get(incarnation).is_some_and(|presence| presence.rev < soft.rev)
        });
        if self.soft.is_empty() {
            self.soft_due = None;
        }
        self.stored = Some(Box::new(state));
    }

    /// May take the next of this queue.
    pub fn serves(&self, queue: QueueId) -> bool {
        self.keys.iter().any(|(other, _)| *other == queue)
    }

    /// What an edge last said.
    pub fn presence(&self, incarnation: IncarnationId) -> Option<Presence> {
        let soft = self.soft.get(&incarnation).copied();
        soft.or_else(|| self.state()?.presence.get(&incarnation).copied())
    }

    /// Keeps a new number of connections until the next write, at the latest until `due`.
    pub fn soften(&mut self, incarnation: IncarnationId, presence: Presence, due: Timestamp) {
        self.soft.insert(incarnation, presence);
        self.soft_due.get_or_insert(due);
    }

    pub fn soft_due(&self) -> Option<Timestamp> {
        self.soft_due
    }

    /// The state to write over, with everything known beside it; a new one for a configured agent who has none.
    pub fn next(&self, record: Option<&AgentRecord>, leases: &Leases, now: Timestamp) -> Option<AgentState> {
        let mut state = self.state().cloned().or_else(|| record.map(new_state))?;
        for (incarnation, presence) in &self.soft {
            state.presence.insert(*incarnation, *presence);
        }
        state
            .presence
            .retain(|incarnation, presence| presence.connections > 0 || !leases.is_dead(*incarnation, now));
        Some(state)
    }

    /// When the conversations are lost, if nobody comes back.
    pub fn lost_at(&self, grace: Duration) -> Option<Timestamp> {
        let state = self.state()?;
        if state.conversations.iter().all(|held| held.given_away) || state.is_connected() {
            return None;
        }
        state.offline_since.map(|since| since.plus(grace))
    }
}

fn new_state(record: &AgentRecord) -> AgentState {
    AgentState {
        agent_id: record.agent_id,
        status: RoutingStatus::default(),
        capacity: record.capacity,
        presence: BTreeMap::new(),
        conversations: Vec::new(),
        last_assigned_at: None,
        offline_since: None,
        left_at: None,
        misses: 0,
        deleted: record.deleted,
        commands: Vec::new(),
        extra: Extra::new(),
    }
}
