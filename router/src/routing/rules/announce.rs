//! Threads that nobody takes right now: they are told that they wait, or turned away.

use bus_schema::{
    Author, Body, ConversationId, Timestamp,
    config::WhenOffline,
    event::{Closed, Queued},
    state::{AgentState, Candidate, CloseReason, DecisionRule, QueueReason, Refusal, Strategy, ThreadStatus},
};

use super::{
    super::{
        plan::{After, Plan, Step},
        queue::Queue,
        slot::QueueId,
        tenant::Tenant,
        timers,
    },
    decide::{self, Ahead, Why},
};

/// Tells a thread that it waits and why, or closes it where it may not wait.
pub fn announce(tenant: &Tenant, queue: QueueId, id: ConversationId, now: Timestamp) -> Step {
    let conversation = tenant.conversations.get(&id).filter(|conversation| conversation.lock.is_free());
    let Some(conversation) = conversation else { return Step::Nothing };
    let Some(life) = conversation.life() else { return Step::Nothing };
    let strategy = tenant.config.strategy(queue);
    let candidates = decide::candidates(tenant, queue, conversation.desk(), &Ahead::new(), now);
    let open = tenant.config.is_open(queue, now);
    let reason = if open { reason(strategy, &candidates) } else { QueueReason::OutsideHours };
    let why =
        Why { strategy, rule: DecisionRule::NobodyFree, candidates, author: Author::SYSTEM, cause: None };
    let mut plan = Plan::new(After::Again);
    let mut next = life.clone();
    let mut desk = conversation.next_desk(life);
    let since = Some(life.started_at);
    if let Some(refusal) = inadmissible(tenant, queue, now) {
        (next.status, next.assignee_id) = (ThreadStatus::Closed, None);
        next.participants.clear();
        let closed = Closed { by: Author::SYSTEM, reason: refusal, state: next };
        plan.life(id, Author::SYSTEM, None, Body::Closed(closed));
    } else {
        desk.queue = Some(conversation.queue_entry(life, reason));
        timers::waits(&mut desk, &tenant.config.rules(queue), now);
        next.status = ThreadStatus::Queued;
        let queued = Queued { group_id: life.group_id, reason, state: next };
        plan.life(id, Author::SYSTEM, None, Body::Queued(queued));
    }
    plan.decided(id, Author::SYSTEM, None, why.decision(tenant, None, since), desk);
    Step::Write(plan)
}

pub fn reason(strategy: Option<Strategy>, candidates: &[Candidate]) -> QueueReason {
    match strategy {
        Some(Strategy::Manual) => return QueueReason::Manual,
        Some(Strategy::Broadcast) if candidates.iter().any(|candidate| candidate.refused.is_none()) => {
            return QueueReason::Offered;
        }
        _ => {}
    }
    if candidates.iter().any(|candidate| candidate.refused == Some(Refusal::AtCapacity)) {
        QueueReason::AllBusy
    } else if candidates.iter().any(|candidate| candidate.refused == Some(Refusal::LacksSkill)) {
        QueueReason::NoSkilledAgent
    } else {
        QueueReason::NoAgentAccepting
    }
}

/// Why nobody more may wait in a queue that nobody serves right now.
pub fn inadmissible(tenant: &Tenant, queue: QueueId, now: Timestamp) -> Option<CloseReason> {
    let group = queue.and_then(|id| tenant.config.group(id))?;
    let waiting = tenant.queues.get(&queue).map_or(0, Queue::announced);
    if group.queue_max.is_some_and(|max| waiting >= max as usize) {
        return Some(CloseReason::QueueFull);
    }
    let somebody = || {
        decide::members(tenant, queue).any(|(id, _)| {
            let agent = tenant.agents.get(&id).and_then(|agent| agent.state());
            agent.is_some_and(AgentState::is_connected)
        })
    };
    let there = tenant.config.is_open(queue, now) && somebody();
    (group.when_offline == WhenOffline::Close && !there).then_some(CloseReason::GroupOffline)
}
