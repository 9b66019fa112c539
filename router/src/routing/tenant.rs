//! One tenant: configuration, agents, conversations, and the indexes that make decisions cheap.
//!
//! Indexes always show the stored states with what is being written over them; whoever changes a state calls
//! `index_agent` or `index_conversation` after it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bus_schema::{
    AgentId, ConversationId, GroupId, IncarnationId, TenantId, Timestamp,
    config::{MemberPriority, Record},
    state::ThreadStatus,
};

use super::{
    agent::Agent,
    chores::{Chore, Chores},
    config::{Changed, Config},
    conversation::{Conversation, Indexed, Waits},
    pace::Pace,
    plan::Job,
    queue::{AgentKey, ListKey, Queue},
    shared::Shared,
    slot::{Key, QueueId},
    telling::Telling,
};

#[derive(Debug)]
pub struct Tenant {
    pub id: TenantId,
    pub config: Config,
    pub agents: BTreeMap<AgentId, Agent>,
    pub conversations: BTreeMap<ConversationId, Conversation>,
    pub queues: BTreeMap<QueueId, Queue>,
    /// Open threads by the group they name.
    pub open: BTreeMap<Option<GroupId>, BTreeSet<ListKey>>,
    /// Agents whose state names an edge.
    pub named: BTreeMap<IncarnationId, BTreeSet<AgentId>>,
    pub due: BTreeSet<(Timestamp, AgentId)>,
    pub paused: BTreeSet<(Timestamp, Key)>,
    /// When somebody in a queue is to be looked at again, for whom an agent was passed over until then.
    pub avoided: BTreeSet<(Timestamp, QueueId)>,
    /// How quickly queues moved of late.
    pub paces: BTreeMap<QueueId, Pace>,
    pub telling: Telling,
    pub chores: Chores,
    pub commands: VecDeque<Job>,
    /// Commands that need what is locked.
    pub waiters: BTreeMap<Key, VecDeque<Job>>,
    /// What a sweep found wrong; acted on if the next one finds it still so.
    pub suspects: BTreeSet<Chore>,
    /// In line for a turn.
    pub in_line: bool,
    /// Commands and chores alternate.
    pub chore_next: bool,
}

impl Tenant {
    pub fn new(id: TenantId) -> Self {
        Self {
            id,
            config: Config::default(),
            agents: BTreeMap::new(),
            conversations: BTreeMap::new(),
            queues: BTreeMap::new(),
            open: BTreeMap::new(),
            named: BTreeMap::new(),
            due: BTreeSet::new(),
            paused: BTreeSet::new(),
            avoided: BTreeSet::new(),
            paces: BTreeMap::new(),
            telling: Telling::default(),
            chores: Chores::default(),
            commands: VecDeque::new(),
            waiters: BTreeMap::new(),
            suspects: BTreeSet::new(),
            in_line: false,
            chore_next: false,
        }
    }

    pub fn has_work(&self) -> bool {
        !self.chores.is_empty() || !self.commands.is_empty()
    }

    pub fn configure(&mut self, record: Record, shared: &mut Shared) {
        match self.config.apply(record) {
            Changed::Nothing => {}
            Changed::Agent(agent) => {
                if self.agents.contains_key(&agent) {
                    self.index_agent(agent, shared);
                    self.chores.add(Chore::Care(agent));
                }
            }
            Changed::Group(group, agents) => {
                for agent in agents {
                    self.index_agent(agent, shared);
                }
                let open = self.open.get(&Some(group)).into_iter().flatten();
                for conversation in open.map(|key| key.conversation).collect::<Vec<_>>() {
                    self.index_conversation(conversation);
                }
                self.chores.add(Chore::Drain(Some(group)));
                if shared.active {
                    self.telling.groups.insert(group);
                }
            }
        }
    }

    /// Brings the indexes in line with an agent's state.
    pub fn index_agent(&mut self, id: AgentId, shared: &mut Shared) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        for (queue, key) in agent.keys.drain(..) {
            if let Some(entry) = self.queues.get_mut(&queue) {
                entry.eligible.remove(&key);
                // They may have waited for this agent alone: if nobody is left, they are told.
                if !entry.unannounced.is_empty() {
                    self.chores.add(Chore::Drain(queue));
                }
            }
        }
        let free = agent.is_free(self.config.agent(id));
        if let Some(state) = agent.state().filter(|_| free) {
            for (queue, priority) in self.config.queues_of(id) {
                let Some(strategy) = self.config.automatic(queue) else { continue };
                if priority == MemberPriority::Supervisor {
                    continue;
                }
                let entry = self.queues.entry(queue).or_default();
                let key = AgentKey::new(strategy, priority, state);
                entry.eligible.insert(key);
                if !entry.waiting.is_empty() {
                    self.chores.add(Chore::Drain(queue));
                }
                // `state` borrows the agent, so its keys are set after the loop.
                shared.scratch.push((queue, key));
            }
        }
        agent.keys.append(&mut shared.scratch);
        self.index_presence(id, shared);
        self.index_due(id, shared);
    }

    fn index_presence(&mut self, id: AgentId, shared: &mut Shared) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        let names: Vec<IncarnationId> =
            agent.state().into_iter().flat_map(|state| state.presence.keys().copied()).collect();
        if names == agent.named {
            return;
        }
        for gone in agent.named.iter().filter(|name| !names.contains(name)) {
            if let Some(agents) = self.named.get_mut(gone) {
                agents.remove(&id);
                if agents.is_empty() {
                    self.named.remove(gone);
                }
            }
        }
        for name in &names {
            self.named.entry(*name).or_default().insert(id);
            shared.leases.named(*name, shared.now);
        }
        agent.named = names;
    }

    fn index_due(&mut self, id: AgentId, shared: &Shared) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        let due = [agent.lost_at(shared.settings.agent_grace), agent.soft_due()].into_iter().flatten().min();
        if due == agent.due {
            return;
        }
        if let Some(old) = agent.due {
            self.due.remove(&(old, id));
        }
        if let Some(new) = due {
            self.due.insert((new, id));
        }
        agent.due = due;
    }

    /// Brings the indexes in line with a conversation's states.
    pub fn index_conversation(&mut self, id: ConversationId) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let new = indexed(id, conversation, &self.config);
        let old = std::mem::replace(&mut conversation.indexed, new.clone());
        if let Some(Waits { queue, .. }) = new.waits {
            self.chores.add(Chore::Drain(queue));
        }
        if old == new {
            return;
        }
        let queues = [old.waits, new.waits].into_iter().flatten().map(|waits| waits.queue);
        self.telling.queues.extend(queues);
        if let Some((group, key)) = old.open
            && let Some(open) = self.open.get_mut(&group)
        {
            open.remove(&key);
            if open.is_empty() {
                self.open.remove(&group);
            }
        }
        if let Some(Waits { queue, key, .. }) = old.waits
            && let Some(entry) = self.queues.get_mut(&queue)
        {
            entry.waiting.remove(&key);
            entry.unannounced.remove(&key);
            if let Some((_, list)) = old.open {
                entry.by_start.remove(&list);
            }
            if entry.is_unused() {
                self.queues.remove(&queue);
            }
        }
        if let Some((group, key)) = new.open {
            self.open.entry(group).or_default().insert(key);
        }
        if let (Some(Waits { queue, key, announced }), Some((_, list))) = (new.waits, new.open) {
            let entry = self.queues.entry(queue).or_default();
            entry.waiting.insert(key);
            entry.by_start.insert(list);
            if !announced {
                entry.unannounced.insert(key);
            }
        }
    }

    /// What a lock that opened may have held up.
    pub fn opened(&mut self, key: Key, shared: &mut Shared) {
        match key {
            Key::Agent(agent) => {
                self.index_agent(agent, shared);
                self.chores.add(Chore::Care(agent));
            }
            Key::Conversation(conversation) => {
                self.index_conversation(conversation);
                if let Some(agent) = self.conversations.get(&conversation).and_then(Conversation::assignee) {
                    self.chores.add(Chore::Care(agent));
                }
            }
        }
        if let Some(mut jobs) = self.waiters.remove(&key) {
            jobs.append(&mut self.commands);
            self.commands = jobs;
        }
    }
}

fn indexed(id: ConversationId, conversation: &Conversation, config: &Config) -> Indexed {
    let Some(life) = conversation.life().filter(|_| !conversation.is_frozen()) else {
        return Indexed::default();
    };
    let open = ListKey { started_at: life.started_at, conversation: id };
    let waits = (life.status == ThreadStatus::Queued && !conversation.lock.is_paused())
        .then(|| conversation.wait_key(id))
        .flatten()
        .map(|(key, announced)| Waits { queue: config.queue_of(life.group_id), key, announced });
    Indexed { waits, open: Some((life.group_id, open)) }
}
