//! A model of the log: compare-and-set on each subject, all of a batch or none. It checks what is stored.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use bus_schema::{
    AgentId, Body, ConversationId, Event, Subject, ThreadId, Timestamp,
    state::{AgentState, DecisionRule, DeskState, LifeState, Priority, ThreadStatus},
};

use super::super::{Message, Said, Stored};

#[derive(Default)]
pub struct Bus {
    pub log: Vec<Stored>,
    last: BTreeMap<Subject, u64>,
    agents: BTreeMap<AgentId, AgentState>,
    life: BTreeMap<ConversationId, LifeState>,
    desks: BTreeMap<ConversationId, DeskState>,
    closed: BTreeSet<ThreadId>,
    /// Where one router decides, nobody is passed over; several can cross.
    pub strict_fifo: bool,
}

impl Bus {
    pub fn strict() -> Self {
        Self { strict_fifo: true, ..Self::default() }
    }

    pub fn last_seq(&self, subject: Subject) -> u64 {
        self.last.get(&subject).copied().unwrap_or(0)
    }

    pub fn last(&self, subject: Subject) -> Option<Stored> {
        self.after(subject, 0).last().cloned()
    }

    fn after(&self, subject: Subject, seq: u64) -> impl Iterator<Item = &Stored> {
        self.log.iter().filter(move |stored| stored.subject == subject && stored.seq > seq)
    }

    /// What people said in a conversation after a sequence, and the last sequence of it.
    pub fn said(&self, id: ConversationId, after: u64) -> (Vec<Said>, Option<u64>) {
        let found: Vec<&Stored> = self.after(super::world::msg_subject(id), after).collect();
        let said = |stored: &&Stored| Some(Said { by: stored.event.as_ref()?.author.kind, at: stored.at });
        (found.iter().filter_map(said).collect(), found.last().map(|stored| stored.seq))
    }

    pub fn agent(&self, id: AgentId) -> Option<&AgentState> {
        self.agents.get(&id)
    }

    pub fn life(&self, id: ConversationId) -> Option<&LifeState> {
        self.life.get(&id)
    }

    /// All or nothing.
    pub fn publish(&mut self, messages: &[Message], at: Timestamp) -> Option<Vec<u64>> {
        let moved = |m: &Message| m.expected.is_some_and(|expected| self.last_seq(m.subject) != expected);
        let first = |at: usize| messages[..at].iter().all(|m| m.subject != messages[at].subject);
        let right = messages.iter().enumerate().all(|(at, m)| m.expected.is_some() == first(at));
        assert!(right, "the first message of a subject has its expectation, and no other: {messages:?}");
        if messages.iter().any(moved) {
            return None;
        }
        Some(messages.iter().map(|message| self.store(message.subject, message.event.clone(), at)).collect())
    }

    pub fn store(&mut self, subject: Subject, event: Event, at: Timestamp) -> u64 {
        let seq = self.log.len() as u64 + 1;
        self.check(subject, &event, seq, at);
        self.last.insert(subject, seq);
        // The payload travels as bytes, so that what does not round-trip is found.
        self.log.push(Stored::decode(subject, seq, at, &event.encode()));
        seq
    }

    fn check(&mut self, subject: Subject, event: &Event, seq: u64, at: Timestamp) {
        if let Some(state) = event.body.agent_state() {
            if let Some(before) = self.agents.get(&state.agent_id) {
                let grew = state.load() > before.load();
                assert!(!grew || state.load() <= before.capacity, "never-over-capacity at {seq}: {state:?}");
            } else {
                assert!(state.load() <= state.capacity, "never-over-capacity at {seq}");
            }
            self.agents.insert(state.agent_id, state.clone());
        }
        let Some((id, _)) = subject.conversation() else { return };
        if let Some(state) = event.body.life_state() {
            let open = self.life.get(&id).filter(|life| life.status.is_open());
            let starts = matches!(event.body, Body::Started(_) | Body::Reopened(_));
            assert!(open.is_some() != starts, "one-thread at {seq}");
            assert!(open.is_none_or(|life| life.thread_id == state.thread_id), "one-thread at {seq}");
            assert!(!self.closed.contains(&state.thread_id), "closed-is-closed at {seq}");
            if state.status != ThreadStatus::Closed {
                assert_eq!(state.status == ThreadStatus::Active, state.assignee_id.is_some(), "at {seq}");
            } else {
                self.closed.insert(state.thread_id);
            }
            let mut state = state.clone();
            if starts {
                (state.started_at, state.started_seq) = (at, Some(seq));
            } else {
                // Within the batch that starts it nobody knows its sequence yet.
                let batch = open.and_then(|life| life.started_seq) == Some(seq - 1);
                assert!(state.started_seq.is_some() || batch, "a later state says where its thread started");
                state.started_seq = state.started_seq.or(Some(seq - 1));
            }
            self.life.insert(id, state);
        }
        if let Body::Decided(decided) = &event.body {
            let by_rule =
                matches!(decided.decision.rule, DecisionRule::LeastLoaded | DecisionRule::RoundRobin);
            if self.strict_fifo && by_rule {
                self.check_fifo(id, seq);
            }
        }
        if let Some(state) = event.body.desk_state() {
            self.desks.insert(id, state.clone());
        }
    }

    /// The routing state of the open thread.
    pub fn desk(&self, id: ConversationId) -> Option<&DeskState> {
        let life = self.life.get(&id).filter(|life| life.status.is_open())?;
        self.desks.get(&id).filter(|desk| desk.thread_id == life.thread_id)
    }

    /// Nobody is passed over who waits longer, unless not everyone is right for them.
    fn check_fifo(&self, id: ConversationId, seq: u64) {
        let life = &self.life[&id];
        let rank = |id: ConversationId, life: &LifeState| {
            let desk = self.desk(id);
            let priority = Reverse(desk.map_or_else(Priority::default, |desk| desk.priority));
            let entry = desk.and_then(|desk| desk.queue.as_ref());
            let start = (life.started_at, life.started_seq.unwrap_or(0));
            let (since, since_seq) = entry.map_or(start, |entry| (entry.since, entry.since_seq));
            (priority, since, since_seq)
        };
        let choosy = |desk: &DeskState| !desk.avoid.is_empty() || !desk.skills.is_empty();
        for (other, waiting) in &self.life {
            let desk = self.desk(*other).filter(|desk| desk.queue.is_some() && !choosy(desk));
            let waits = waiting.status == ThreadStatus::Queued && desk.is_some();
            if waits && waiting.group_id == life.group_id {
                assert!(
                    rank(*other, waiting) > rank(id, life),
                    "fifo at {seq}: {other} waits longer than {id}"
                );
            }
        }
    }
}
