//! What the log says, kept up message by message, and what it must never say.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use bus_schema::{
    AgentId, CommandId, ConversationId, Lane, Subject, ThreadId,
    state::{AgentState, DeskState, LifeState, ThreadStatus},
};

use super::{Found, threads};
use crate::sim::{bus::Stored, world::Payload};

/// A state, and where it is.
#[derive(Debug, Clone)]
pub struct Kept<S> {
    pub state: S,
    pub seq: u64,
}

#[derive(Debug, Default)]
pub struct Ledger {
    pub agents: BTreeMap<AgentId, Kept<AgentState>>,
    /// Of the last thread, open or closed.
    pub lives: BTreeMap<ConversationId, Kept<LifeState>>,
    pub desks: BTreeMap<ConversationId, Kept<DeskState>>,
    pub closed: BTreeSet<ThreadId>,
    holders: BTreeMap<ConversationId, BTreeSet<AgentId>>,
    /// In which batch a command was carried out.
    causes: BTreeMap<CommandId, u64>,
    /// Clocks jump far: nothing is checked that rests on them.
    pub clocks_are_wild: bool,
    batches: u64,
}

impl Ledger {
    /// Messages that were stored together.
    pub fn batch(&mut self, batch: &[Stored<Rc<Payload>>]) -> Result<(), Found> {
        self.batches += 1;
        threads::explained(self, batch)?;
        let mut touched: BTreeSet<ConversationId> = BTreeSet::new();
        for stored in batch {
            self.once(stored)?;
            match stored.subject {
                Subject::Agent { agent, .. } => self.agent_message(agent, stored, &mut touched)?,
                Subject::Conversation { conversation, lane, .. } => {
                    touched.insert(conversation);
                    threads::message(self, conversation, lane, stored)?;
                }
                Subject::Visitor { .. } => {}
            }
        }
        for conversation in touched {
            self.one_assignee(conversation, batch)?;
        }
        Ok(())
    }

    /// A command is carried out in one batch or not at all.
    fn once(&mut self, stored: &Stored<Rc<Payload>>) -> Result<(), Found> {
        // What an edge reports of several agents may take several.
        let lane = stored.subject.conversation().map(|(_, lane)| lane);
        let Some(cause) = stored.payload.event.cause.filter(|_| lane.is_some_and(|l| l != Lane::Msg)) else {
            return Ok(());
        };
        let batch = *self.causes.entry(CommandId::from_uuid(cause)).or_insert(self.batches);
        if batch != self.batches {
            return Err((
                "done-once",
                format!("{} is of command {cause}, which was done before", stored.seq),
            ));
        }
        Ok(())
    }

    fn agent_message(
        &mut self,
        id: AgentId,
        stored: &Stored<Rc<Payload>>,
        touched: &mut BTreeSet<ConversationId>,
    ) -> Result<(), Found> {
        let Some(state) = stored.payload.event.body.agent_state() else {
            return Err(("well-formed", format!("{} is no state of an agent", stored.seq)));
        };
        let before = self.agents.get(&id).map(|kept| &kept.state);
        let (load, capacity) = before.map_or((0, state.capacity), |before| (before.load(), before.capacity));
        if state.load() > load && state.load() > capacity {
            let what = format!("{}: {id} holds {} of {capacity}", stored.seq, state.load());
            return Err(("never-over-capacity", what));
        }
        let held: BTreeSet<ConversationId> =
            state.conversations.iter().map(|held| held.conversation_id).collect();
        if held.len() != state.conversations.len() {
            return Err(("one-assignee", format!("{}: {id} holds a thread twice", stored.seq)));
        }
        let holds: BTreeSet<ConversationId> = before
            .map(|before| before.conversations.iter().map(|held| held.conversation_id).collect())
            .unwrap_or_default();
        for gone in holds.difference(&held) {
            self.holders.entry(*gone).or_default().remove(&id);
            touched.insert(*gone);
        }
        for new in held.difference(&holds) {
            self.holders.entry(*new).or_default().insert(id);
            touched.insert(*new);
        }
        self.agents.insert(id, Kept { state: state.clone(), seq: stored.seq });
        Ok(())
    }

    /// The thread's word on who has it, and agents' on what they hold, say the same after each batch.
    fn one_assignee(&self, id: ConversationId, batch: &[Stored<Rc<Payload>>]) -> Result<(), Found> {
        let assignee = self.open(id).and_then(|life| life.assignee_id);
        let holders: Vec<AgentId> = self.holders.get(&id).into_iter().flatten().copied().collect();
        if holders == Vec::from_iter(assignee) {
            return Ok(());
        }
        let seq = batch.first().map_or(0, |stored| stored.seq);
        Err(("one-assignee", format!("{seq}: {id} has {assignee:?} and is held by {holders:?}")))
    }

    pub fn open(&self, id: ConversationId) -> Option<&LifeState> {
        self.lives.get(&id).map(|kept| &kept.state).filter(|life| life.status.is_open())
    }

    /// The routing state of the open thread.
    pub fn desk(&self, id: ConversationId) -> Option<&Kept<DeskState>> {
        let thread = self.open(id)?.thread_id;
        self.desks.get(&id).filter(|kept| kept.state.thread_id == thread)
    }

    pub fn last_thread(&self, id: ConversationId) -> Option<ThreadId> {
        self.lives.get(&id).map(|kept| kept.state.thread_id)
    }

    pub fn agent(&self, id: AgentId) -> Option<&AgentState> {
        self.agents.get(&id).map(|kept| &kept.state)
    }

    pub fn held(&self, id: AgentId) -> Vec<ConversationId> {
        let state = self.agent(id).into_iter();
        state.flat_map(|state| &state.conversations).map(|held| held.conversation_id).collect()
    }

    pub fn done(&self, command: CommandId) -> bool {
        self.causes.contains_key(&command)
    }

    /// How many threads are open, and how many of them wait.
    pub fn counts(&self) -> (u64, u64) {
        let open = self.lives.values().filter(|kept| kept.state.status.is_open());
        let waits = |kept: &&Kept<LifeState>| kept.state.status == ThreadStatus::Queued;
        (open.clone().count() as u64, open.filter(waits).count() as u64)
    }
}
