//! Putting right what the invariants forbid, by ordinary writes. Only a sweep asks for it.

use bus_schema::{
    AgentId, Author, Body, ConversationId,
    event::{AgentLoad, Queued},
    state::{DecisionRule, Held, QueueReason, ThreadStatus},
};

use super::{
    super::{
        agent::Agent,
        conversation::Conversation,
        plan::{After, Plan, Step},
        shared::Shared,
        slot::Key,
        tenant::Tenant,
        timers,
    },
    decide::Why,
};

/// The thread has an assignee who does not hold it.
pub fn is_orphan(tenant: &Tenant, id: ConversationId, conversation: &Conversation) -> bool {
    let Some(assignee) = conversation.stored_life().and_then(|life| life.assignee_id) else { return false };
    if !conversation.lock.is_free() || conversation.is_frozen() || tenant.is_locked(Key::Agent(assignee)) {
        return false;
    }
    match tenant.agents.get(&assignee) {
        Some(agent) if agent.is_frozen() => false,
        Some(agent) => agent.stored().is_none_or(|state| !state.holds(id)),
        None => true,
    }
}

/// The agent holds what is somebody else's or nobody's.
pub fn is_strange(tenant: &Tenant, id: AgentId, held: &Held) -> bool {
    let Some(conversation) = tenant.conversations.get(&held.conversation_id) else { return true };
    let theirs = conversation
        .stored_life()
        .is_some_and(|life| life.assignee_id == Some(id) && life.thread_id == held.thread_id);
    conversation.lock.is_free() && !conversation.is_frozen() && !theirs
}

pub fn requeue(tenant: &Tenant, id: ConversationId, shared: &Shared) -> Step {
    let conversation = tenant.conversations.get(&id).filter(|c| is_orphan(tenant, id, c));
    let Some((conversation, life)) = conversation.and_then(|c| Some((c, c.life()?))) else {
        return Step::Nothing;
    };
    let reason = QueueReason::AgentLost;
    let mut next = life.clone();
    (next.status, next.assignee_id) = (ThreadStatus::Queued, None);
    next.participants.retain(|participant| Some(*participant) != life.assignee_id);
    let mut desk = conversation.next_desk(life);
    desk.queue = Some(conversation.queue_entry(life, reason));
    let rules = tenant.config.rules(tenant.config.queue_of(life.group_id));
    timers::waits(&mut desk, &rules, shared.now);
    let why = Why {
        strategy: None,
        rule: DecisionRule::AgentLost,
        candidates: Vec::new(),
        author: Author::SYSTEM,
        cause: None,
    };
    let decision = why.decision(tenant, None, Some(life.started_at));
    let mut plan = Plan::new(After::Again);
    let queued = Queued { group_id: life.group_id, reason, state: next };
    plan.life(id, Author::SYSTEM, None, Body::Queued(queued));
    plan.decided(id, Author::SYSTEM, None, decision, desk);
    Step::Write(plan)
}

pub fn shed(tenant: &Tenant, id: AgentId, shared: &Shared) -> Step {
    let free = |agent: &&Agent| agent.lock.is_free() && !agent.is_frozen();
    let Some(agent) = tenant.agents.get(&id).filter(free) else { return Step::Nothing };
    let next = agent.next(tenant.config.agent(id), &shared.leases, shared.now);
    let Some(mut state) = next.filter(|_| agent.stored().is_some()) else { return Step::Nothing };
    let before = state.conversations.len();
    state.conversations.retain(|held| !is_strange(tenant, id, held));
    if state.conversations.len() == before {
        return Step::Nothing;
    }
    let mut plan = Plan::new(After::Again);
    plan.agent(None, Body::AgentLoad(AgentLoad { state }));
    Step::Write(plan)
}
