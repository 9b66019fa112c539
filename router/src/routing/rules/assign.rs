//! People assign: agents take from the queue, supervisors from anybody and for anybody. Capacity is obeyed here too.

use bus_schema::{
    AgentId, Body, ConversationId, ErrorCode, ThreadId,
    command::CommandRequest,
    event::AgentLoad,
    state::{DecisionRule, ThreadStatus},
};

use super::{
    super::{
        plan::{After, Plan, Step},
        shared::Shared,
        slot::Key,
        tenant::Tenant,
    },
    decide::{self, Why},
    refused, succeed, thread,
};

pub fn take(
    tenant: &Tenant,
    request: &CommandRequest,
    id: ConversationId,
    thread_id: Option<ThreadId>,
    shared: &Shared,
) -> Step {
    let Some(agent) = thread::as_agent(&request.actor) else {
        return Step::Reply(refused(ErrorCode::Forbidden, "only agents take conversations"));
    };
    let (conversation, life) = match thread::open(tenant, request, id, thread_id) {
        Ok(open) => open,
        Err(step) => return *step,
    };
    let supervisor = thread::is_supervisor(&request.actor);
    if !supervisor && !tenant.config.is_member(agent, tenant.config.queue_of(life.group_id)) {
        return Step::Reply(refused(ErrorCode::Forbidden, "the agent is not a member of the group"));
    }
    if life.status == ThreadStatus::Active && life.assignee_id != Some(agent) && !supervisor {
        return Step::Reply(bus_schema::ErrorBody::from(ErrorCode::AlreadyAssigned).into());
    }
    let offered = conversation.desk().is_some_and(|desk| desk.offers.iter().any(|o| o.agent_id == agent));
    let rule = if offered { DecisionRule::OfferAccepted } else { DecisionRule::Taken };
    hand_over(tenant, request, id, agent, rule, shared)
}

/// A supervisor's word counts more than the agent's status: also who is away or does not accept chats can be named.
pub fn assign(
    tenant: &Tenant,
    request: &CommandRequest,
    id: ConversationId,
    thread_id: Option<ThreadId>,
    agent: AgentId,
    shared: &Shared,
) -> Step {
    if !thread::is_supervisor(&request.actor) {
        return Step::Reply(refused(ErrorCode::Forbidden, "only supervisors assign"));
    }
    if let Err(step) = thread::open(tenant, request, id, thread_id) {
        return *step;
    }
    hand_over(tenant, request, id, agent, DecisionRule::AssignedBySupervisor, shared)
}

fn hand_over(
    tenant: &Tenant,
    request: &CommandRequest,
    id: ConversationId,
    agent: AgentId,
    rule: DecisionRule,
    shared: &Shared,
) -> Step {
    let reply = |code: ErrorCode| Step::Reply(bus_schema::ErrorBody::from(code).into());
    let Some(conversation) = tenant.conversations.get(&id) else { return reply(ErrorCode::NotFound) };
    let Some(life) = conversation.life() else { return reply(ErrorCode::ThreadClosed) };
    if life.assignee_id == Some(agent) {
        return Step::Reply(thread::done(life.thread_id, life.assignee_id, conversation.life_seq));
    }
    let Some(record) = tenant.config.agent(agent) else {
        return Step::Reply(refused(ErrorCode::NotFound, "no such agent"));
    };
    if record.deleted {
        return Step::Reply(refused(ErrorCode::AgentUnavailable, "the agent was removed"));
    }
    for key in [Some(agent), life.assignee_id].into_iter().flatten().map(Key::Agent) {
        if tenant.is_locked(key) {
            return Step::Blocked(key);
        }
    }
    let fresh = super::super::agent::Agent::default();
    let slot = tenant.agents.get(&agent).unwrap_or(&fresh);
    if slot.is_frozen() {
        return Step::Reply(refused(ErrorCode::Internal, "the state of this agent cannot be read"));
    }
    let Some(mut to) = slot.next(Some(record), &shared.leases, shared.now).filter(|state| !state.deleted)
    else {
        return Step::Reply(refused(ErrorCode::AgentUnavailable, "the agent was removed"));
    };
    if !tenant.config.has_room(tenant.config.queue_of(life.group_id), &to) {
        return reply(ErrorCode::OverCapacity);
    }
    let successor = succeed::successor(tenant, request, life, agent, shared.now);
    let next = successor.as_ref().unwrap_or(life);
    let outcome = thread::done(next.thread_id, Some(agent), 0);
    let why = Why {
        strategy: None,
        rule,
        candidates: decide::named(tenant, agent),
        author: request.actor.author,
        cause: Some(request.command_id.uuid()),
    };
    let mut plan = Plan::new(After::Reply(outcome.clone()));
    if let Some(state) = decide::without(tenant, id, life) {
        plan.agent(why.cause, Body::AgentLoad(AgentLoad { state }));
    }
    decide::hold_by_hand(&mut to, id, next, shared.now);
    plan.agent(why.cause, Body::AgentLoad(AgentLoad { state: to }));
    if let Some(next) = &successor {
        succeed::pass_on(&mut plan, id, request, life, next);
    }
    decide::assign(tenant, &mut plan, (id, conversation), next, agent, why, shared.now);
    if let Some(desk) = plan.last_desk() {
        thread::remember(&mut desk.commands, request, outcome);
    }
    Step::Write(plan)
}
