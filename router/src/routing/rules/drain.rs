//! Queues: the longest waiting goes to the first who is free; whoever cannot be served is told so, or turned away.

use std::collections::btree_map::Entry;

use bus_schema::{
    AgentId, Author, Body, ConversationId, ErrorCode, GroupId, Timestamp, WidgetId,
    command::{Answer, Outcome},
    config::WhenOffline,
    event::{AgentLoad, Closed, Queued},
    state::{AgentState, Candidate, CloseReason, DecisionRule, QueueReason, Refusal, Strategy, ThreadStatus},
};

use super::{
    super::{
        config::Automatic,
        plan::{After, Plan, Step},
        queue::{AgentKey, Queue},
        settings::LOOKED_AT_MAX,
        shared::Shared,
        slot::{Key, QueueId},
        tenant::Tenant,
    },
    decide::{self, Ahead, Why},
    refused,
};

pub fn drain(tenant: &mut Tenant, queue: QueueId, shared: &Shared) -> Step {
    let Some(entry) = tenant.queues.get(&queue) else { return Step::Nothing };
    let automatic = tenant.config.automatic(queue).filter(|_| !entry.eligible.is_empty());
    let Some(automatic) = automatic else {
        let next = entry.unannounced.first().map(|key| key.conversation);
        return next.map_or(Step::Nothing, |id| announce(tenant, queue, id, shared.now));
    };
    // Nobody overtakes while a write of the head is under way.
    if entry.served {
        return Step::Nothing;
    }
    let given = give(tenant, queue, entry, automatic, shared);
    if let Some(until) = given.look_again {
        tenant.avoided.insert((until, queue));
    }
    match (given.plan.changes.is_empty(), given.untold) {
        (false, _) => Step::Write(given.plan),
        (true, Some(id)) => announce(tenant, queue, id, shared.now),
        (true, None) => Step::Nothing,
    }
}

/// What looking through a queue came to.
struct Given {
    plan: Plan,
    /// The first for whom nobody is right, and whom nobody told yet that they wait.
    untold: Option<ConversationId>,
    /// When somebody who was passed over for one of them no longer is.
    look_again: Option<Timestamp>,
}

/// The first of the queue and the first of the agents belong together, again and again: nobody overtakes either while
/// a write of theirs is under way. Only a thread that is not for anybody who is free lets others go before it.
fn give(tenant: &Tenant, id: QueueId, queue: &Queue, automatic: Automatic, shared: &Shared) -> Given {
    let mut ahead = Ahead::new();
    let mut order: Vec<AgentId> = Vec::new();
    let mut plan = Plan::new(After::Again);
    let (mut untold, mut look_again) = (None, None);
    let mut left = queue.batch();
    for waiting in queue.waiting.iter().take(LOOKED_AT_MAX) {
        if left == 0 {
            break;
        }
        let key = waiting.conversation;
        let Some(conversation) = tenant.conversations.get(&key).filter(|c| c.lock.is_free()) else { break };
        let Some(life) = conversation.life() else { break };
        let desk = conversation.desk();
        let fits = |agent: AgentId| decide::unfit(tenant, desk, agent, shared.now).is_none();
        let Some(best) = best(tenant, (id, queue), &ahead, automatic, fits) else {
            let wishes = desk.is_some_and(|desk| !desk.avoid.is_empty() || !desk.skills.is_empty());
            if !wishes || decide::nobody_has_room(queue, &ahead) {
                break;
            }
            if queue.unannounced.contains(waiting) {
                untold = untold.or(Some(key));
            }
            let ends = desk.into_iter().flat_map(|desk| &desk.avoid).map(|avoid| avoid.until);
            look_again = ends.filter(|until| *until > shared.now).chain(look_again).min();
            continue;
        };
        if tenant.is_locked(Key::Agent(best)) {
            break;
        }
        let why = Why {
            strategy: Some(automatic.strategy()),
            rule: match automatic {
                Automatic::LeastLoaded => DecisionRule::LeastLoaded,
                Automatic::RoundRobin => DecisionRule::RoundRobin,
            },
            candidates: decide::candidates(tenant, id, desk, &ahead, shared.now),
            author: Author::SYSTEM,
            cause: None,
        };
        let state = match ahead.entry(best) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let slot = tenant.agents.get(&best);
                let record = tenant.config.agent(best);
                let next = slot.and_then(|slot| slot.next(record, &shared.leases, shared.now));
                let Some(state) = next else { break };
                order.push(best);
                entry.insert(state)
            }
        };
        decide::hold(state, key, life, shared.now);
        decide::assign(tenant, &mut plan, (key, conversation), life, best, &why);
        left -= 1;
    }
    let mut whole = Plan::new(After::Again);
    if !plan.changes.is_empty() {
        whole.serves = Some(id);
        for state in order.iter().filter_map(|agent| ahead.remove(agent)) {
            whole.agent(None, Body::AgentLoad(AgentLoad { state }));
        }
        whole.changes.append(&mut plan.changes);
    }
    Given { plan: whole, untold, look_again }
}

/// Whose turn it is, seen with the decisions of this batch.
fn best(
    tenant: &Tenant,
    (id, queue): (QueueId, &Queue),
    ahead: &Ahead,
    automatic: Automatic,
    fits: impl Fn(AgentId) -> bool,
) -> Option<AgentId> {
    let untouched =
        queue.eligible.iter().find(|key| !ahead.contains_key(&key.agent) && fits(key.agent)).copied();
    let place = |agent: AgentId| {
        let mut keys = tenant.agents.get(&agent)?.keys.iter();
        keys.find(|(queue, _)| *queue == id).map(|(_, key)| key.priority)
    };
    let touched = ahead.values().filter(|state| state.has_room() && fits(state.agent_id));
    let touched =
        touched.filter_map(|state| Some(AgentKey::new(automatic, place(state.agent_id)?, state))).min();
    untouched.into_iter().chain(touched).min().map(|key| key.agent)
}

/// Tells a thread that it waits and why, or closes it where it may not wait.
fn announce(tenant: &Tenant, queue: QueueId, id: ConversationId, now: Timestamp) -> Step {
    let conversation = tenant.conversations.get(&id).filter(|conversation| conversation.lock.is_free());
    let Some(conversation) = conversation else { return Step::Nothing };
    let Some(life) = conversation.life() else { return Step::Nothing };
    let automatic = tenant.config.automatic(queue);
    let strategy = match automatic {
        Some(automatic) => Some(automatic.strategy()),
        None => queue.and_then(|id| tenant.config.group(id)).map(|group| group.strategy),
    };
    let candidates = decide::candidates(tenant, queue, conversation.desk(), &Ahead::new(), now);
    let reason = reason(strategy, &candidates);
    let why =
        Why { strategy, rule: DecisionRule::NobodyFree, candidates, author: Author::SYSTEM, cause: None };
    let mut plan = Plan::new(After::Again);
    let mut next = life.clone();
    let mut desk = conversation.next_desk(life);
    let since = Some(life.started_at);
    if let Some(refusal) = inadmissible(tenant, queue) {
        (next.status, next.assignee_id) = (ThreadStatus::Closed, None);
        next.participants.clear();
        let closed = Closed { by: Author::SYSTEM, reason: refusal, state: next };
        plan.life(id, Author::SYSTEM, None, Body::Closed(closed));
    } else {
        desk.queue = Some(conversation.queue_entry(life, reason));
        next.status = ThreadStatus::Queued;
        let queued = Queued { group_id: life.group_id, reason, state: next };
        plan.life(id, Author::SYSTEM, None, Body::Queued(queued));
    }
    plan.decided(id, Author::SYSTEM, None, why.decision(tenant, None, since), desk);
    Step::Write(plan)
}

fn reason(strategy: Option<Strategy>, candidates: &[Candidate]) -> QueueReason {
    if strategy == Some(Strategy::Manual) {
        QueueReason::Manual
    } else if candidates.iter().any(|candidate| candidate.refused == Some(Refusal::AtCapacity)) {
        QueueReason::AllBusy
    } else if candidates.iter().any(|candidate| candidate.refused == Some(Refusal::LacksSkill)) {
        QueueReason::NoSkilledAgent
    } else {
        QueueReason::NoAgentAccepting
    }
}

/// Why nobody more may wait in a queue that nobody serves right now.
fn inadmissible(tenant: &Tenant, queue: QueueId) -> Option<CloseReason> {
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
    (group.when_offline == WhenOffline::Close && !somebody()).then_some(CloseReason::GroupOffline)
}

/// May a thread start in this group now?
pub fn admit(tenant: &Tenant, group: Option<GroupId>, widget: Option<WidgetId>) -> Outcome {
    let group_id = match tenant.config.start_group(group, widget) {
        Ok(group) => group,
        Err(_) => return refused(ErrorCode::NotFound, "no such group"),
    };
    let queue = tenant.config.queue_of(group_id);
    let served = tenant.queues.get(&queue).is_some_and(|entry| !entry.eligible.is_empty());
    match inadmissible(tenant, queue).filter(|_| !served) {
        Some(CloseReason::QueueFull) => bus_schema::ErrorBody::from(ErrorCode::QueueFull).into(),
        Some(_) => bus_schema::ErrorBody::from(ErrorCode::GroupOffline).into(),
        None => Outcome::Accepted { answer: Answer::Admitted { group_id } },
    }
}
