//! What others are told of: threads, agents and groups that changed, and places in queues.
//!
//! Each word says how something is now, is told only when it differs from the last, and may be lost. Only who decides
//! speaks. What is told in one call is bounded; the rest follows with the next tick.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bus_schema::{
    AgentId, ConversationId, GroupId, Timestamp,
    protocol::{AgentView, ConversationView, GroupStatus, QueueView},
    signal::{Signal, TenantSignal},
    state::{AgentStatus, QueueReason, ThreadStatus},
    subject::TenantTopic,
};

use super::{
    conversation::Conversation,
    effect::{Effect, Told},
    queue::WaitKey,
    rules::{lists, status_of_group},
    shared::Shared,
    slot::{QueueId, Target},
    tenant::Tenant,
};

/// A conversation's place is told at most this often.
const POSITIONS_EVERY: Duration = Duration::from_secs(1);
/// So many at the head of a queue are told each time; those behind take turns.
const NEAR: u32 = 100;
const FAR_AT_ONCE: usize = 150;
/// Agents in one signal.
const AGENTS_AT_ONCE: usize = 100;

#[derive(Debug, Default)]
pub struct Telling {
    /// Threads that changed; of those that closed, what they were.
    threads: BTreeMap<ConversationId, Option<Box<ConversationView>>>,
    agents: BTreeSet<AgentId>,
    pub groups: BTreeSet<GroupId>,
    group_told: BTreeMap<GroupId, GroupStatus>,
    /// Queues in which places changed.
    pub queues: BTreeSet<QueueId>,
    /// When a queue was last told, and up to whom of those far behind.
    turns: BTreeMap<QueueId, (Timestamp, Option<WaitKey>)>,
}

/// What a change of a state is compared with.
#[derive(Debug, Default)]
pub struct Before {
    /// It waited there, since then.
    waited: Option<(QueueId, Timestamp)>,
    open: Option<Box<ConversationView>>,
}

impl Tenant {
    pub fn before(&self, target: Target) -> Before {
        let Target::Life(id) = target else { return Before::default() };
        let Some(conversation) = self.conversations.get(&id) else { return Before::default() };
        let open = lists::view(id, conversation, conversation.told).map(Box::new);
        Before { waited: self.waited(conversation), open }
    }

    /// Where and since when it waits as stored, if that says anything of how long others will.
    fn waited(&self, conversation: &Conversation) -> Option<(QueueId, Timestamp)> {
        let life = conversation.stored_life().filter(|life| life.status == ThreadStatus::Queued)?;
        let entry = conversation.stored_desk()?.queue.as_ref()?;
        let counts = entry.reason != QueueReason::AgentLost;
        counts.then(|| (self.config.queue_of(life.group_id), entry.since))
    }

    /// A state is stored that was not known before.
    pub fn changed(&mut self, target: Target, before: Before, at: Timestamp, active: bool) {
        match target {
            Target::Agent(agent) if active => {
                self.telling.agents.insert(agent);
                let groups = self.config.queues_of(agent).filter_map(|(queue, _)| queue);
                self.telling.groups.extend(groups);
            }
            Target::Agent(_) => {}
            Target::Life(id) | Target::Desk(id) => {
                let Some(conversation) = self.conversations.get(&id) else { return };
                let status = conversation.stored_life().map(|life| life.status);
                if let (Some((queue, since)), Some(ThreadStatus::Active)) = (before.waited, status) {
                    self.paces.entry(queue).or_default().left(since, at);
                }
                if !active {
                    return;
                }
                match (status, before.open) {
                    (Some(_), _) => {
                        self.telling.threads.insert(id, None);
                    }
                    (None, Some(was)) => {
                        self.telling.threads.insert(id, Some(was));
                    }
                    (None, None) => {}
                }
            }
        }
    }

    /// Everything counts as changed: others may have missed what was said by who decided before.
    pub fn tell_all(&mut self) {
        self.telling = Telling::default();
        self.telling.agents.extend(self.agents.keys());
        self.telling.groups.extend(self.config.groups());
        self.telling.queues.extend(self.queues.keys());
        for agent in self.agents.values_mut() {
            agent.told = None;
        }
        for queue in self.queues.values() {
            for key in &queue.waiting {
                if let Some(conversation) = self.conversations.get_mut(&key.conversation) {
                    conversation.told = None;
                }
            }
        }
    }

    pub fn tell_threads(&mut self, shared: &mut Shared) {
        for (id, closed) in std::mem::take(&mut self.telling.threads) {
            let Some(conversation) = self.conversations.get(&id) else { continue };
            let seq = conversation.life_seq.max(conversation.desk_seq);
            let (view, open) = match (lists::view(id, conversation, conversation.told), closed) {
                (Some(view), _) => (view, true),
                (None, Some(was)) => {
                    let mut view = *was;
                    (view.thread.status, view.thread.queue) = (ThreadStatus::Closed, None);
                    (view, false)
                }
                (None, None) => continue,
            };
            self.say(TenantTopic::Threads, TenantSignal::Thread { conversation: view, seq, open }, shared);
        }
    }

    /// What need not be told at once.
    pub fn tell_rest(&mut self, shared: &mut Shared) {
        if !shared.active {
            return;
        }
        self.tell_agents(shared);
        for id in std::mem::take(&mut self.telling.groups) {
            if self.config.group(id).is_none() {
                self.telling.group_told.remove(&id);
                continue;
            }
            let status = status_of_group(self, id, shared.now);
            if self.telling.group_told.insert(id, status) != Some(status) {
                self.telling.queues.insert(Some(id));
                self.say(TenantTopic::Groups, TenantSignal::Group { group_id: id, status }, shared);
            }
        }
        for queue in std::mem::take(&mut self.telling.queues) {
            let due =
                self.telling.turns.get(&queue).is_none_or(|(at, _)| shared.now.since(*at) >= POSITIONS_EVERY);
            if !due || self.tell_positions(queue, shared) {
                self.telling.queues.insert(queue);
            }
        }
    }

    fn tell_agents(&mut self, shared: &mut Shared) {
        let mut news: Vec<AgentView> = Vec::new();
        for id in std::mem::take(&mut self.telling.agents) {
            let Some(agent) = self.agents.get_mut(&id) else { continue };
            let gone = agent.told.map(|told| AgentView { status: AgentStatus::Offline, load: 0, ..told });
            let Some(view) = agent.view().or(gone) else { continue };
            if agent.told != Some(view) {
                agent.told = Some(view);
                news.push(view);
            }
        }
        for agents in news.chunks(AGENTS_AT_ONCE) {
            self.say(TenantTopic::Agents, TenantSignal::Agents { agents: agents.to_vec() }, shared);
        }
    }

    /// Tells who waits where they are; says whether somebody is still to be told.
    fn tell_positions(&mut self, id: QueueId, shared: &mut Shared) -> bool {
        let Some(queue) = self.queues.get(&id).filter(|queue| !queue.waiting.is_empty()) else {
            self.telling.turns.remove(&id);
            return false;
        };
        let after = self.telling.turns.get(&id).and_then(|(_, after)| *after);
        let (mut far, mut last_far, mut left_over) = (0, None, false);
        for (key, position) in queue.waiting.iter().zip(1..) {
            let place = QueueView { position, wait_s: self.wait_s(id, position) };
            let Some(conversation) = self.conversations.get_mut(&key.conversation) else { continue };
            if conversation.told == Some(place) || queue.unannounced.contains(key) {
                continue;
            }
            // It came from another queue, in which it was told its place.
            if conversation.told_at.is_some_and(|at| shared.now.since(at) < POSITIONS_EVERY) {
                left_over = true;
                continue;
            }
            if position > NEAR {
                if far == FAR_AT_ONCE || after.is_some_and(|after| *key <= after) {
                    left_over = true;
                    continue;
                }
                (far, last_far) = (far + 1, Some(*key));
            }
            (conversation.told, conversation.told_at) = (Some(place), Some(shared.now));
            let QueueView { position, wait_s } = place;
            let signal = Signal::QueuePosition { conversation_id: key.conversation, position, wait_s };
            let told = Told::Conversation(key.conversation, signal);
            shared.effects.push_back(Effect::Tell { tenant: self.id, told });
        }
        let turn = last_far.filter(|_| far == FAR_AT_ONCE);
        self.telling.turns.insert(id, (shared.now, turn));
        left_over
    }

    /// Seconds until the one at this position has an agent; none where there is nothing to go by.
    pub fn wait_s(&self, queue: QueueId, position: u32) -> Option<u64> {
        let nobody = queue.and_then(|id| self.telling.group_told.get(&id)) == Some(&GroupStatus::Offline);
        self.paces.get(&queue).filter(|_| !nobody)?.wait_s(position)
    }

    fn say(&self, topic: TenantTopic, signal: TenantSignal, shared: &mut Shared) {
        let told = Told::Tenant(topic, signal);
        shared.effects.push_back(Effect::Tell { tenant: self.id, told });
    }
}
