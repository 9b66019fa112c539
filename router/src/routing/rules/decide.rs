//! Decisions with their reasons, and the messages of an assignment: shared by rules and people's commands.

use std::{collections::BTreeMap, time::Duration};

use bus_schema::{
    AgentId, Author, Body, ConversationId, Timestamp,
    config::MemberPriority,
    event::Assigned,
    state::{
        AgentState, Candidate, Decision, DecisionRule, DeskState, Held, LifeState, Refusal, Strategy,
        ThreadStatus,
    },
};
use uuid::Uuid;

use super::super::{
    agent::Agent,
    conversation::Conversation,
    plan::Plan,
    queue::{AgentKey, Queue},
    roster::candidate,
    slot::QueueId,
    tenant::Tenant,
    timers,
};

/// Who was weighed, nearest to being chosen first: the eligible in order, then members who were passed over, or all of
/// them where agents take. `ahead` holds the states that earlier decisions of the same batch lead to.
pub fn candidates(
    tenant: &Tenant,
    queue: QueueId,
    desk: Option<&DeskState>,
    ahead: &Ahead,
    now: Timestamp,
) -> Vec<Candidate> {
    let entry = tenant.queues.get(&queue);
    let strategy = tenant.config.automatic(queue);
    let eligible = entry.into_iter().flat_map(|entry| entry.eligible.iter()).take(Decision::CANDIDATES_MAX);
    let mut eligible: Vec<(Option<Refusal>, AgentKey)> = eligible
        .filter_map(|key| {
            let (key, full) = match ahead.get(&key.agent) {
                Some(state) => {
                    let full = !tenant.config.has_room(queue, state);
                    (AgentKey::new(strategy?, key.priority, state), full.then_some(Refusal::AtCapacity))
                }
                None => (*key, None),
            };
            Some((full.or_else(|| unfit(tenant, desk, key.agent, now)), key))
        })
        .collect();
    eligible.sort_unstable();
    let rows = tenant.rows(queue);
    let passed_over = rows.iter().filter(|row| row.refused.is_some() || strategy.is_none());
    let mut found = Vec::with_capacity(Decision::CANDIDATES_MAX.min(eligible.len() + rows.len()));
    found.extend(eligible.into_iter().map(|(refused, key)| key.candidate(refused)));
    found.extend(passed_over.take(Decision::CANDIDATES_MAX - found.len()).cloned());
    found
}

/// Why rules pass an agent over for this one thread.
pub fn unfit(tenant: &Tenant, desk: Option<&DeskState>, agent: AgentId, now: Timestamp) -> Option<Refusal> {
    let desk = desk?;
    if desk.avoid.iter().any(|avoid| avoid.agent_id == agent && now < avoid.until) {
        return Some(Refusal::PassedOn);
    }
    if desk.skills.is_empty() || desk.skills_waived {
        return None;
    }
    let has = tenant.config.agent(agent).map_or(&[][..], |record| &record.skills);
    let lacks = desk.skills.iter().any(|wanted| !has.contains(wanted));
    lacks.then_some(Refusal::LacksSkill)
}

/// States of agents after decisions that are not written yet.
/// Boxed, for a map of a few makes room for many.
pub type Ahead = BTreeMap<AgentId, Box<AgentState>>;

/// Everyone who serves the queue is full once these decisions are written.
pub fn nobody_has_room(tenant: &Tenant, (id, queue): (QueueId, &Queue), ahead: &Ahead) -> bool {
    let full = |agent: AgentId| ahead.get(&agent).is_some_and(|state| !tenant.config.has_room(id, state));
    queue.eligible.iter().all(|key| full(key.agent))
}

/// Everyone who could be asked: the group's members, or all agents where there is no group.
pub fn members(tenant: &Tenant, queue: QueueId) -> Box<dyn Iterator<Item = (AgentId, MemberPriority)> + '_> {
    match queue {
        Some(group) => Box::new(
            tenant
                .config
                .group(group)
                .into_iter()
                .flat_map(|group| &group.members)
                .map(|member| (member.agent_id, member.priority)),
        ),
        None => Box::new(tenant.agents.keys().map(|id| (*id, MemberPriority::Normal))),
    }
}

/// Why something happened.
pub struct Why {
    pub strategy: Option<Strategy>,
    pub rule: DecisionRule,
    pub candidates: Vec<Candidate>,
    pub author: Author,
    pub cause: Option<Uuid>,
}

impl Why {
    pub fn decision(
        self,
        tenant: &Tenant,
        chosen: Option<AgentId>,
        waiting_since: Option<Timestamp>,
    ) -> Decision {
        Decision {
            strategy: self.strategy,
            config_revision: tenant.config.revision,
            candidates: self.candidates,
            chosen,
            rule: self.rule,
            waiting_since,
            took_us: 0,
        }
    }
}

/// The agent who was named by a person, as the only candidate.
pub fn named(tenant: &Tenant, id: AgentId) -> Vec<Candidate> {
    vec![candidate(tenant.agents.get(&id).and_then(Agent::state), id, MemberPriority::Normal, None)]
}

/// Takes a conversation over into an agent's state.
pub fn hold(to: &mut AgentState, id: ConversationId, life: &LifeState, now: Timestamp) {
    to.conversations.push(Held {
        conversation_id: id,
        thread_id: life.thread_id,
        group_id: life.group_id,
        since: now,
        given_away: false,
    });
    // Grows with each assignment even within one millisecond, so that taking turns works.
    let after = |last: Timestamp| last.plus(Duration::from_millis(1));
    to.last_assigned_at = Some(to.last_assigned_at.map_or(now, |last| after(last).max(now)));
}

/// Adds to `plan` what makes `agent` the assignee, on the conversation's side.
pub fn assign(
    tenant: &Tenant,
    plan: &mut Plan,
    (id, conversation): (ConversationId, &Conversation),
    life: &LifeState,
    agent: AgentId,
    why: Why,
    now: Timestamp,
) {
    let next = with_assignee(life, agent);
    let (desk, waiting_since) = served(conversation, life, agent, now);
    let group_id = next.group_id;
    let (author, cause) = (why.author, why.cause);
    plan.life(id, author, cause, Body::Assigned(Assigned { agent_id: agent, group_id, state: next }));
    plan.decided(id, author, cause, why.decision(tenant, Some(agent), waiting_since), desk);
}

/// The thread's state once `agent` has it.
pub fn with_assignee(life: &LifeState, agent: AgentId) -> LifeState {
    let mut next = life.clone();
    (next.status, next.assignee_id) = (ThreadStatus::Active, Some(agent));
    next.participants.retain(|participant| Some(*participant) != life.assignee_id && *participant != agent);
    next.participants.insert(0, agent);
    next
}

/// The routing state once `agent` has the thread, and since when it waited for them.
pub fn served(
    conversation: &Conversation,
    life: &LifeState,
    agent: AgentId,
    now: Timestamp,
) -> (DeskState, Option<Timestamp>) {
    let mut desk = conversation.next_desk(life);
    if desk.thread_id != life.thread_id {
        // Its successor has the same wishes, and a beginning of its own.
        (desk.thread_id, desk.misses) = (life.thread_id, 0);
    }
    let waiting_since = desk.queue.take().map(|entry| entry.since).or(Some(life.started_at));
    desk.last_agent_id = Some(agent);
    desk.offers.clear();
    desk.avoid.clear();
    timers::served(&mut desk, now);
    (desk, waiting_since)
}

/// Takes over a conversation into an agent's state by a person's word, also of one who is away.
pub fn hold_by_hand(to: &mut AgentState, id: ConversationId, life: &LifeState, now: Timestamp) {
    hold(to, id, life, now);
    let away = !to.is_connected();
    if let Some(held) = to.conversations.last_mut() {
        held.given_away = away;
    }
}

/// The state of whoever has the thread now, without it; none if nobody has it, or that cannot be written.
pub fn without(tenant: &Tenant, id: ConversationId, life: &LifeState) -> Option<AgentState> {
    let agent = tenant.agents.get(&life.assignee_id?).filter(|agent| !agent.is_frozen())?;
    let mut state = agent.state().filter(|state| state.holds(id))?.clone();
    state.conversations.retain(|held| held.conversation_id != id);
    Some(state)
}
