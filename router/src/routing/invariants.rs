//! The invariants of design §4 over a core's memory, worked out from the states alone: they hold the indexes to them.

use std::collections::BTreeMap;

use bus_schema::{
    AgentId, ConversationId, Timestamp,
    config::MemberPriority,
    state::{AgentStatus, LifeState, ThreadStatus},
};

use super::{
    Routing,
    agent::Agent,
    queue::{Queue, WaitKey},
    rules,
    slot::{Key, QueueId},
    tenant::Tenant,
};

/// What must not be, in words. Meant for a core without writes under way.
pub fn check(routing: &Routing) -> Vec<String> {
    let mut found = Vec::new();
    for tenant in routing.tenants.values() {
        one_assignee(tenant, &mut found);
        no_idle_queue(tenant, routing.shared.now, |_| true, &mut found);
        indexes(tenant, &mut found);
    }
    found
}

/// What must not be of a core that decides and has just heard that time passed, whatever fails meanwhile: where it has
/// nothing lined up, and nothing is under way of those who wait in a queue or serve it, nobody waits there for who is free.
pub fn check_decided(routing: &Routing) -> Vec<String> {
    let mut found = Vec::new();
    if !routing.shared.active || !routing.line.is_empty() || !routing.shared.has_room() {
        return found;
    }
    for tenant in routing.tenants.values() {
        no_idle_queue(tenant, routing.shared.now, |queue| is_still(tenant, queue), &mut found);
    }
    found
}

fn is_still(tenant: &Tenant, queue: QueueId) -> bool {
    let still = |entry: &Queue| {
        let free = |waits: &WaitKey| !tenant.is_locked(Key::Conversation(waits.conversation));
        entry.leaving.is_empty() && entry.waiting.iter().all(free)
    };
    tenant.queues.get(&queue).is_none_or(still)
        && rules::members(tenant, queue).all(|(id, _)| !tenant.is_locked(Key::Agent(id)))
}

fn one_assignee(tenant: &Tenant, found: &mut Vec<String>) {
    let mut holders: BTreeMap<ConversationId, Vec<AgentId>> = BTreeMap::new();
    for (id, state) in tenant.agents.iter().filter_map(|(id, agent)| Some((id, agent.stored()?))) {
        for held in &state.conversations {
            holders.entry(held.conversation_id).or_default().push(*id);
        }
    }
    for (id, conversation) in tenant.conversations.sorted() {
        let assignee = conversation.stored_life().and_then(|life| life.assignee_id);
        let holders = holders.remove(&id).unwrap_or_default();
        if holders != Vec::from_iter(assignee) {
            found.push(format!("one-assignee: {id} has {assignee:?} and is held by {holders:?}"));
        }
        let active = |life: &LifeState| (life.status == ThreadStatus::Active) == life.assignee_id.is_some();
        if !conversation.stored_life().is_none_or(active) {
            found.push(format!("one-assignee: the status of {id} and its assignee disagree"));
        }
    }
    found.extend(holders.into_keys().map(|id| format!("one-assignee: {id} is held and does not exist")));
}

fn no_idle_queue(tenant: &Tenant, now: Timestamp, counts: impl Fn(QueueId) -> bool, found: &mut Vec<String>) {
    for (id, conversation) in tenant.conversations.sorted() {
        let waits = |life: &&LifeState| life.status == ThreadStatus::Queued && !conversation.is_frozen();
        let Some(life) = conversation.stored_life().filter(waits) else { continue };
        let queue = tenant.config.queue_of(life.group_id);
        let offered =
            conversation.stored_desk().and_then(|desk| rules::standing(tenant, queue, desk, now)).is_some();
        if offered || !tenant.config.is_open(queue, now) || !counts(queue) {
            continue;
        }
        let fits = |agent: AgentId| rules::unfit(tenant, conversation.stored_desk(), agent, now).is_none();
        if let Some(agent) = somebody_free(tenant, queue, fits) {
            found.push(format!("no-idle-queue: {id} waits while {agent} is free"));
        }
        if conversation.stored_desk().is_none_or(|desk| desk.queue.is_none()) {
            found.push(format!("explained: {id} waits and was not told"));
        }
    }
}

fn somebody_free(tenant: &Tenant, queue: QueueId, fits: impl Fn(AgentId) -> bool) -> Option<AgentId> {
    tenant.config.automatic(queue)?;
    let free = |agent: &Agent| {
        let accepts = agent.stored().is_some_and(|state| {
            let room = tenant.config.has_room(queue, state);
            state.seen_status() == AgentStatus::Accepting && room && !state.deleted
        });
        accepts && !agent.is_frozen() && !agent.lock.is_paused()
    };
    let mut members = rules::members(tenant, queue);
    members
        .find(|(id, priority)| {
            *priority != MemberPriority::Supervisor
                && fits(*id)
                && tenant.agents.get(id).is_some_and(free)
                && tenant.config.agent(*id).is_none_or(|record| !record.deleted)
        })
        .map(|(id, _)| id)
}

fn indexes(tenant: &Tenant, found: &mut Vec<String>) {
    let waiting: usize = tenant.queues.values().map(|queue| queue.waiting.len()).sum();
    let conversations = tenant.conversations.sorted();
    let queued = conversations.iter().filter(|(_, c)| {
        !c.is_frozen() && !c.lock.is_set_aside() && c.life().is_some_and(|l| l.status == ThreadStatus::Queued)
    });
    let queued = queued.count();
    if waiting != queued {
        found.push(format!("index: {waiting} wait, {queued} are queued"));
    }
    let listed: usize = tenant.open.values().map(|keys| keys.len()).sum();
    let open = conversations.iter().filter(|(_, c)| !c.is_frozen() && c.life().is_some()).count();
    if listed != open {
        found.push(format!("index: {listed} are listed, {open} are open"));
    }
    let eligible: usize = tenant.queues.values().map(|queue| queue.eligible.len()).sum();
    let keys: usize = tenant.agents.values().map(|agent| agent.keys.len()).sum();
    if eligible != keys {
        found.push(format!("index: {eligible} places of agents in queues, {keys} known"));
    }
    for group in tenant.config.groups() {
        if *tenant.rows(Some(group)) != *tenant.weighed(Some(group)) {
            found.push(format!("index: reasons of group {group} are of before"));
        }
    }
}
