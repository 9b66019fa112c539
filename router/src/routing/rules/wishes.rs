//! What a person wants of a thread's routing: how urgent it is, who is able to help, and that an offer is not for them.

use bus_schema::{
    Body, ConversationId, ErrorBody, ErrorCode, ThreadId,
    command::{CommandRequest, Outcome},
    event::{Declined, PrioritySet, SkillsSet},
    skill,
    state::{Avoid, DeskState, Priority},
};

use super::{
    super::{
        plan::{After, Plan, Step},
        settings::AVOIDED_FOR,
        shared::Shared,
        slot::QueueId,
        tenant::Tenant,
        timers,
    },
    refused, thread,
};

pub fn set_priority(
    tenant: &Tenant,
    request: &CommandRequest,
    id: ConversationId,
    thread_id: Option<ThreadId>,
    priority: Priority,
) -> Step {
    if !thread::is_supervisor(&request.actor) {
        return Step::Reply(refused(ErrorCode::Forbidden, "only supervisors set priorities"));
    }
    change(tenant, request, id, thread_id, |mut state, _| {
        if std::mem::replace(&mut state.priority, priority) == priority {
            return Err(Outcome::DONE);
        }
        Ok(Body::PrioritySet(PrioritySet { priority, state }))
    })
}

pub fn set_skills(
    tenant: &Tenant,
    request: &CommandRequest,
    id: ConversationId,
    thread_id: Option<ThreadId>,
    skills: &[String],
    shared: &Shared,
) -> Step {
    if !thread::is_supervisor(&request.actor) {
        return Step::Reply(refused(ErrorCode::Forbidden, "only supervisors set wanted skills"));
    }
    let flaws = skill::flaws("/skills", skills);
    if !flaws.is_empty() {
        return Step::Reply(ErrorBody::fields(flaws).into());
    }
    let mut skills = skills.to_vec();
    skills.sort_unstable();
    change(tenant, request, id, thread_id, |mut state, queue| {
        if state.skills == skills && !state.skills_waived {
            return Err(Outcome::DONE);
        }
        (state.skills, state.skills_waived) = (skills.clone(), false);
        if state.queue.is_some() {
            timers::wants_skills(&mut state, &tenant.config.rules(queue), shared.now);
        }
        Ok(Body::SkillsSet(SkillsSet { skills, state }))
    })
}

pub fn decline(
    tenant: &Tenant,
    request: &CommandRequest,
    id: ConversationId,
    thread_id: Option<ThreadId>,
    shared: &Shared,
) -> Step {
    let Some(agent_id) = thread::as_agent(&request.actor) else {
        return Step::Reply(refused(ErrorCode::Forbidden, "only agents decline offers"));
    };
    change(tenant, request, id, thread_id, |mut state, _| {
        let offers = state.offers.len();
        state.offers.retain(|offer| offer.agent_id != agent_id);
        if state.offers.len() == offers {
            return Err(refused(ErrorCode::Conflict, "nothing is offered to the agent"));
        }
        let until = shared.now.plus(AVOIDED_FOR);
        state.avoid.retain(|avoid| avoid.agent_id != agent_id && avoid.until > shared.now);
        state.avoid.push(Avoid { agent_id, until });
        Ok(Body::Declined(Declined { agent_id, state }))
    })
}

/// Writes the routing state anew, with the command remembered.
fn change(
    tenant: &Tenant,
    request: &CommandRequest,
    id: ConversationId,
    thread_id: Option<ThreadId>,
    make: impl FnOnce(DeskState, QueueId) -> Result<Body, Outcome>,
) -> Step {
    let (conversation, life) = match thread::open(tenant, request, id, thread_id) {
        Ok(open) => open,
        Err(step) => return *step,
    };
    let mut state = conversation.next_desk(life);
    thread::remember(&mut state.commands, request, Outcome::DONE);
    match make(state, tenant.config.queue_of(life.group_id)) {
        Err(outcome) => Step::Reply(outcome),
        Ok(body) => {
            let mut plan = Plan::new(After::Reply(Outcome::DONE));
            plan.desk(id, request.actor.author, Some(request.command_id.uuid()), body);
            Step::Write(plan)
        }
    }
}
