//! What people did, taken from a log: starts, how long threads take, who gives up, who is there.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use bus_schema::{
    AgentId, Body, ConversationId, Event, GroupId, Subject, TenantId, ThreadId, Timestamp, VisitorId,
    state::{AgentState, LifeState, Priority, RoutingStatus, ThreadStatus},
};

/// One message of the log.
#[derive(Debug, Clone)]
pub struct Entry {
    pub at: Timestamp,
    pub subject: Subject,
    pub event: Event,
}

/// The first of a row of threads that were reassigned: for people they are one.
#[derive(Debug, Default)]
pub struct Roots(HashMap<ThreadId, ThreadId>);

impl Roots {
    pub fn of(&mut self, state: &LifeState) -> ThreadId {
        let before = state.previous_thread_id.filter(|_| state.continues);
        let Some(before) = before else { return state.thread_id };
        let root = self.0.get(&before).copied().unwrap_or(before);
        self.0.insert(state.thread_id, root);
        root
    }
}

/// A thread, as its people made it.
#[derive(Debug, Clone)]
pub struct Episode {
    pub tenant: TenantId,
    pub conversation: ConversationId,
    pub thread: ThreadId,
    pub visitor: VisitorId,
    pub group: Option<GroupId>,
    pub started: Timestamp,
    /// From its first assignment to its close.
    pub handled: Option<Duration>,
    /// From its start to a close that nobody's work led to.
    pub patience: Option<Duration>,
    pub priority: Priority,
    pub skills: Vec<String>,
    assigned: Option<Timestamp>,
}

/// An agent's own doing from this instant on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shift {
    pub at: Timestamp,
    pub tenant: TenantId,
    pub agent: AgentId,
    pub connected: bool,
    pub status: RoutingStatus,
    pub capacity: u32,
}

/// Everything that is played again.
#[derive(Debug, Default)]
pub struct Recording {
    pub episodes: BTreeMap<ThreadId, Episode>,
    pub shifts: Vec<Shift>,
    /// When the first of it was recorded, and the last.
    pub began: Option<Timestamp>,
    pub end: Timestamp,
    last: HashMap<AgentId, Shift>,
    roots: Roots,
}

impl Recording {
    pub fn add(&mut self, entry: &Entry) {
        self.began = Some(self.began.map_or(entry.at, |began| began.min(entry.at)));
        self.end = self.end.max(entry.at);
        let tenant = entry.event.tenant_id;
        if let Some(state) = entry.event.body.agent_state() {
            self.agent(tenant, state, entry.at);
        }
        let Some((conversation, _)) = entry.subject.conversation() else { return };
        if let Some(state) = entry.event.body.life_state() {
            self.life(tenant, conversation, &entry.event.body, state, entry.at);
        }
        if let Some(state) = entry.event.body.desk_state()
            && let Some(episode) = self.episodes.get_mut(&state.thread_id)
        {
            (episode.priority, episode.skills) = (state.priority, state.skills.clone());
        }
    }

    fn life(
        &mut self,
        tenant: TenantId,
        conversation: ConversationId,
        body: &Body,
        state: &LifeState,
        at: Timestamp,
    ) {
        let thread = self.roots.of(state);
        if matches!(body, Body::Started(_) | Body::Reopened(_)) && !state.continues {
            let episode = Episode {
                tenant,
                conversation,
                thread,
                visitor: state.visitor_id,
                group: state.group_id,
                started: at,
                handled: None,
                patience: None,
                priority: Priority::default(),
                skills: Vec::new(),
                assigned: None,
            };
            self.episodes.insert(thread, episode);
        }
        let Some(episode) = self.episodes.get_mut(&thread) else { return };
        if state.assignee_id.is_some() {
            episode.assigned.get_or_insert(at);
        }
        (episode.handled, episode.patience) = match (state.status, episode.assigned) {
            (ThreadStatus::Closed, Some(assigned)) => (Some(at.since(assigned)), None),
            (ThreadStatus::Closed, None) => (None, Some(at.since(episode.started))),
            (ThreadStatus::Queued | ThreadStatus::Active, _) => (None, None),
        };
    }

    fn agent(&mut self, tenant: TenantId, state: &AgentState, at: Timestamp) {
        let shift = Shift {
            at,
            tenant,
            agent: state.agent_id,
            connected: state.is_connected() && !state.deleted,
            status: state.status,
            capacity: state.capacity,
        };
        let before = self.last.insert(state.agent_id, shift);
        if before.is_none_or(|before| Shift { at, ..before } != shift) {
            self.shifts.push(shift);
        }
    }

    /// How long a thread takes of which the log does not say it: the median of the others.
    pub fn usual(&self) -> Duration {
        let mut known: Vec<Duration> = self.episodes.values().filter_map(|episode| episode.handled).collect();
        known.sort_unstable();
        known.get(known.len() / 2).copied().unwrap_or_default()
    }
}
