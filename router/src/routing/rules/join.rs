//! Agents who take part beside the assignee. It costs them no capacity, and everyone in the conversation sees it.

use bus_schema::{
    AgentId, Body, ConversationId, ErrorCode, ThreadId,
    command::CommandRequest,
    event::{Joined, Left},
    state::{DecisionRule, LifeState},
};

use super::{
    super::{
        conversation::Conversation,
        plan::{After, Plan, Step},
        settings::PARTICIPANTS_MAX,
        tenant::Tenant,
    },
    decide::{self, Why},
    refused, thread,
};

pub fn join(
    tenant: &Tenant,
    request: &CommandRequest,
    id: ConversationId,
    thread_id: Option<ThreadId>,
) -> Step {
    let Some(agent) = thread::as_agent(&request.actor) else {
        return Step::Reply(refused(ErrorCode::Forbidden, "only agents join conversations"));
    };
    let (conversation, life) = match thread::open(tenant, request, id, thread_id) {
        Ok(open) => open,
        Err(step) => return *step,
    };
    if life.participants.contains(&agent) || life.assignee_id == Some(agent) {
        return Step::Reply(thread::done(life.thread_id, life.assignee_id, conversation.life_seq));
    }
    let member = tenant.config.is_member(agent, tenant.config.queue_of(life.group_id));
    if !member && !thread::is_supervisor(&request.actor) {
        return Step::Reply(refused(ErrorCode::Forbidden, "the agent is not a member of the group"));
    }
    if life.participants.len() >= PARTICIPANTS_MAX {
        return Step::Reply(refused(ErrorCode::Conflict, "too many agents take part already"));
    }
    let mut next = life.clone();
    next.participants.push(agent);
    let body = Body::Joined(Joined { agent_id: agent, state: next });
    beside(tenant, request, (id, conversation, life), agent, DecisionRule::Joined, body)
}

pub fn leave(
    tenant: &Tenant,
    request: &CommandRequest,
    id: ConversationId,
    thread_id: Option<ThreadId>,
) -> Step {
    let Some(agent) = thread::as_agent(&request.actor) else {
        return Step::Reply(refused(ErrorCode::Forbidden, "only agents leave conversations"));
    };
    let (conversation, life) = match thread::open(tenant, request, id, thread_id) {
        Ok(open) => open,
        Err(step) => return *step,
    };
    if life.assignee_id == Some(agent) {
        return Step::Reply(refused(ErrorCode::Conflict, "the assignee transfers the thread or closes it"));
    }
    if !life.participants.contains(&agent) {
        return Step::Reply(refused(ErrorCode::NotParticipant, "the agent does not take part"));
    }
    let mut next = life.clone();
    next.participants.retain(|participant| *participant != agent);
    let body = Body::Left(Left { agent_id: agent, state: next });
    beside(tenant, request, (id, conversation, life), agent, DecisionRule::Left, body)
}

fn beside(
    tenant: &Tenant,
    request: &CommandRequest,
    (id, conversation, life): (ConversationId, &Conversation, &LifeState),
    agent: AgentId,
    rule: DecisionRule,
    body: Body,
) -> Step {
    let outcome = thread::done(life.thread_id, life.assignee_id, 0);
    let (author, cause) = (request.actor.author, Some(request.command_id.uuid()));
    let why = Why { strategy: None, rule, candidates: decide::named(tenant, agent), author, cause };
    let mut desk = conversation.next_desk(life);
    let waiting_since = desk.queue.as_ref().map(|entry| entry.since);
    thread::remember(&mut desk.commands, request, outcome.clone());
    let mut plan = Plan::new(After::Reply(outcome));
    plan.life(id, author, cause, body);
    plan.decided(id, author, cause, why.decision(tenant, None, waiting_since), desk);
    Step::Write(plan)
}
