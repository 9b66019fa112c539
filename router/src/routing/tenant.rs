//! One tenant: configuration, agents, conversations, and the indexes that make decisions cheap.
//!
//! Indexes always show the stored states with what is being written over them; whoever changes a state calls
//! `index_agent` or `index_conversation` after it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bus_schema::{
    AgentId, ConversationId, GroupId, IncarnationId, TenantId, ThreadId, Timestamp,
    config::{MemberPriority, Record},
};

use super::{
    agent::Agent,
    chores::{Chore, Chores},
    config::{Changed, Config},
    conversation::{Conversation, Indexed, Waits},
    conversations::Conversations,
    effect::Effect,
    pace::Pace,
    plan::Job,
    queue::{AgentKey, ListKey, Queue},
    roster::{Rosters, index_rows},
    shared::Shared,
    sight::Questions,
    slot::{Key, QueueId},
    telling::Telling,
    timers::{self, Said, Seen},
};

#[derive(Debug)]
pub struct Tenant {
    pub id: TenantId,
    pub config: Config,
    pub agents: BTreeMap<AgentId, Agent>,
    pub conversations: Conversations,
    pub queues: BTreeMap<QueueId, Queue>,
    /// Open threads by the group they name.
    pub open: BTreeMap<Option<GroupId>, BTreeSet<ListKey>>,
    /// What decisions say of the members of a group that exists.
    pub rosters: Rosters,
    pub named: Named,
    pub due: BTreeSet<(Timestamp, AgentId)>,
    pub paused: BTreeSet<(Timestamp, Key)>,
    /// When a queue is to be looked at again: somebody is not passed over any more, an offer ends, the group opens.
    pub avoided: BTreeSet<(Timestamp, QueueId)>,
    /// When something is due for an open thread.
    pub timers: BTreeSet<(Timestamp, ConversationId)>,
    /// How quickly queues moved of late.
    pub paces: BTreeMap<QueueId, Pace>,
    pub telling: Telling,
    pub questions: Questions,
    pub chores: Chores,
    pub commands: VecDeque<Job>,
    /// Commands that need what is locked.
    pub waiters: BTreeMap<Key, VecDeque<Job>>,
    /// Chores that need what is read again.
    pub held_up: BTreeMap<Key, BTreeSet<Chore>>,
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
            conversations: Conversations::default(),
            queues: BTreeMap::new(),
            open: BTreeMap::new(),
            rosters: Rosters::new(),
            named: BTreeMap::new(),
            due: BTreeSet::new(),
            paused: BTreeSet::new(),
            avoided: BTreeSet::new(),
            timers: BTreeSet::new(),
            paces: BTreeMap::new(),
            telling: Telling::default(),
            questions: Questions::default(),
            chores: Chores::default(),
            commands: VecDeque::new(),
            waiters: BTreeMap::new(),
            held_up: BTreeMap::new(),
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
                } else {
                    index_rows(&mut self.rosters, &self.config, agent, None);
                }
            }
            Changed::Tenant => {
                for agent in self.agents.keys().copied().collect::<Vec<_>>() {
                    self.index_agent(agent, shared);
                }
                let open = self.open.values().flatten().map(|key| key.conversation);
                for conversation in open.collect::<Vec<_>>() {
                    self.index_conversation(conversation);
                }
                for group in self.config.groups().collect::<Vec<_>>() {
                    self.look_again(group, shared);
                }
            }
            Changed::Group(group, agents) => {
                for agent in agents {
                    self.index_agent(agent, shared);
                }
                self.index_group(group);
                let open = self.open.get(&Some(group)).into_iter().flatten();
                for conversation in open.map(|key| key.conversation).collect::<Vec<_>>() {
                    self.index_conversation(conversation);
                }
                self.look_again(group, shared);
            }
        }
    }

    /// A group opened or closed, or may from now on.
    pub fn look_again(&mut self, group: GroupId, shared: &Shared) {
        self.chores.add(Chore::Drain(Some(group)));
        if shared.active {
            self.telling.groups.insert(group);
        }
        let changes = self.config.hours(Some(group)).and_then(|hours| hours.changes_after(shared.now));
        self.avoided.extend(changes.map(|at| (at, Some(group))));
    }

    /// Brings the indexes in line with an agent's state.
    pub fn index_agent(&mut self, id: AgentId, shared: &mut Shared) {
        let Some(agent) = self.agents.get_mut(&id) else { return };
        for (queue, key) in agent.keys.drain(..) {
            if let Some(entry) = self.queues.get_mut(&queue) {
                entry.eligible.remove(&key);
                // It may have been this agent's turn, whom a write held up: the next is to be asked, or, if nobody is left,
                // those who wait are told.
                if !entry.waiting.is_empty() {
                    self.chores.add(Chore::Drain(queue));
                }
            }
        }
        let free = agent.is_free(self.config.agent(id));
        if let Some(state) = agent.state().filter(|_| free) {
            for (queue, priority) in self.config.queues_of(id) {
                let Some(strategy) = self.config.automatic(queue) else { continue };
                if priority == MemberPriority::Supervisor || !self.config.has_room(queue, state) {
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
        index_rows(&mut self.rosters, &self.config, id, Some(agent));
        index_presence(&mut self.named, id, agent, shared);
        index_due(&mut self.due, id, agent, shared);
    }

    /// Brings the indexes in line with a conversation's states.
    pub fn index_conversation(&mut self, id: ConversationId) {
        self.index_timer(id);
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let new = conversation.to_index(id, &self.config);
        let old = std::mem::replace(&mut conversation.indexed, new);
        if let Some(Waits { queue, .. }) = new.waits {
            self.chores.add(Chore::Drain(queue));
        }
        if old == new {
            return;
        }
        let waits = [old.waits, new.waits].into_iter().flatten().map(|waits| waits.queue);
        self.telling.queues.extend(waits);
        if old.open != new.open {
            self.index_open(&old, &new);
        }
        if (old.waits, old.open) != (new.waits, new.open) {
            self.index_waiting(&old, &new);
        }
        if let Some((queue, key)) = old.leaves
            && let Some(entry) = self.queues.get_mut(&queue)
        {
            entry.leaving.remove(&key);
        }
        if let Some((queue, key)) = new.leaves {
            self.queues.entry(queue).or_default().leaving.insert(key);
        }
        let left = old.waits.map(|waits| waits.queue).into_iter().chain(old.leaves.map(|(queue, _)| queue));
        for queue in left {
            match self.queues.get(&queue).map(Queue::is_unused) {
                Some(true) => drop(self.queues.remove(&queue)),
                // Those behind it may go on.
                Some(false) => self.chores.add(Chore::Drain(queue)),
                None => {}
            }
        }
    }

    fn index_open(&mut self, old: &Indexed, new: &Indexed) {
        if let Some((group, key)) = old.open
            && let Some(open) = self.open.get_mut(&group)
        {
            open.remove(&key);
            if open.is_empty() {
                self.open.remove(&group);
            }
        }
        if let Some((group, key)) = new.open {
            self.open.entry(group).or_default().insert(key);
        }
    }

    fn index_waiting(&mut self, old: &Indexed, new: &Indexed) {
        if let Some(Waits { queue, key, .. }) = old.waits
            && let Some(entry) = self.queues.get_mut(&queue)
        {
            entry.waiting.remove(&key);
            entry.unannounced.remove(&key);
            if let Some((_, list)) = old.open {
                entry.by_start.remove(&list);
            }
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

    pub fn index_timer(&mut self, id: ConversationId) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let waits = conversation.is_asked_for() || !conversation.lock.is_free() || conversation.is_frozen();
        let life = conversation.life().filter(|_| !waits);
        let rules = life.map(|life| self.config.rules(self.config.queue_of(life.group_id)));
        let due = rules.and_then(|rules| timers::next(conversation, &rules)).map(|due| due.at);
        if due == conversation.timer {
            return;
        }
        if let Some(old) = std::mem::replace(&mut conversation.timer, due) {
            self.timers.remove(&(old, id));
        }
        self.timers.extend(due.map(|due| (due, id)));
    }

    /// Asks what was said in the open thread.
    pub fn look(&mut self, id: ConversationId, shared: &mut Shared) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let Some(life) = conversation.life() else { return };
        let (thread, started) = (life.thread_id, life.started_seq.unwrap_or(conversation.life_seq));
        let seen = conversation.seen.as_ref().filter(|seen| seen.thread == thread).map(|seen| seen.up_to);
        conversation.looking = Some(shared.now);
        shared.reading += 1;
        let (tenant, after) = (self.id, seen.unwrap_or(0).max(started));
        shared.effects.push_back(Effect::Look { tenant, conversation: id, thread, after });
    }

    pub fn looked(
        &mut self,
        id: ConversationId,
        thread: ThreadId,
        said: &[Said],
        up_to: Option<u64>,
        more: bool,
    ) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let Some(at) = conversation.looking.take() else { return };
        if conversation.life().is_some_and(|life| life.thread_id == thread) {
            let mut seen = match conversation.seen.take() {
                Some(seen) if seen.thread == thread => seen,
                _ => Box::new(Seen::nothing(thread, Timestamp::default())),
            };
            for said in said {
                seen.hear(*said);
            }
            seen.up_to = up_to.unwrap_or(0).max(seen.up_to);
            // As long as there is more it does not count as looked at.
            if !more {
                seen.at = at;
            }
            conversation.seen = Some(seen);
        }
        self.chores.add(Chore::Expire(id));
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
        for chore in self.held_up.remove(&key).into_iter().flatten() {
            self.chores.add(chore);
        }
        if let Some(mut jobs) = self.waiters.remove(&key) {
            jobs.append(&mut self.commands);
            self.commands = jobs;
        }
    }
}

/// Agents whose state names an edge.
type Named = BTreeMap<IncarnationId, BTreeSet<AgentId>>;

fn index_presence(named: &mut Named, id: AgentId, agent: &mut Agent, shared: &mut Shared) {
    let names = agent.state().into_iter().flat_map(|state| state.presence.keys().copied());
    if names.clone().eq(agent.named.iter().copied()) {
        return;
    }
    let names: Vec<IncarnationId> = names.collect();
    for gone in agent.named.iter().filter(|name| !names.contains(name)) {
        if let Some(agents) = named.get_mut(gone) {
            agents.remove(&id);
            if agents.is_empty() {
                named.remove(gone);
            }
        }
    }
    for name in &names {
        named.entry(*name).or_default().insert(id);
        shared.leases.named(*name, shared.now);
    }
    agent.named = names;
}

fn index_due(all: &mut BTreeSet<(Timestamp, AgentId)>, id: AgentId, agent: &mut Agent, shared: &Shared) {
    let due = [agent.lost_at(shared.settings.agent_grace), agent.soft_due()].into_iter().flatten().min();
    if due == agent.due {
        return;
    }
    if let Some(old) = agent.due {
        all.remove(&(old, id));
    }
    all.extend(due.map(|due| (due, id)));
    agent.due = due;
}
