//! The rules: what is decided about a command, a chore, or the passing of time. One file a family.

mod admit;
mod announce;
mod assign;
mod care;
mod close;
mod decide;
mod drain;
mod expire;
mod explain;
mod groups;
mod join;
pub(super) mod lists;
pub(super) mod mend;
mod offer;
mod presence;
mod reopen;
mod status;
mod succeed;
mod thread;
mod transfer;
mod wishes;

pub use decide::{members, unfit};
pub use groups::status_of_group;
pub use offer::standing;
pub use thread::with_seq;

use std::time::Duration;

use bus_schema::{
    ErrorCode, IncarnationId,
    command::{Command, CommandRequest, Outcome},
    limits::COMMAND_WAIT_MS,
};

use super::{
    chores::Chore,
    plan::{Job, Step},
    shared::Shared,
    tenant::Tenant,
};

/// Answers what changes nothing at once; none for what has to be decided in turn.
pub fn answer(tenant: &mut Tenant, request: &CommandRequest, shared: &mut Shared) -> Option<Outcome> {
    Some(match &request.command {
        Command::Admit { group_id, widget_id, .. } => admit::admit(tenant, *group_id, *widget_id, shared),
        Command::PresenceDigest { incarnation, agents } => presence::digest(tenant, *incarnation, agents),
        Command::ListConversations { view, group_id, limit, cursor } => {
            let page =
                lists::Page { view: *view, group: *group_id, limit: *limit, cursor: cursor.as_deref() };
            lists::conversations(tenant, &request.actor, &page, shared.now)
        }
        Command::GetConversation { conversation_id } => {
            lists::conversation(tenant, *conversation_id, shared.now)
        }
        Command::Explain { conversation_id } => {
            explain::explain(tenant, &request.actor, *conversation_id, shared.now)
        }
        Command::ListAgents => lists::agents(tenant),
        Command::ListGroups => groups::list(tenant, shared.now),
        Command::Presence { .. }
        | Command::SetStatus { .. }
        | Command::Take { .. }
        | Command::Decline { .. }
        | Command::Assign { .. }
        | Command::Transfer { .. }
        | Command::Join { .. }
        | Command::Leave { .. }
        | Command::Close { .. }
        | Command::Reopen { .. }
        | Command::SetPriority { .. }
        | Command::SetSkills { .. } => return None,
    })
}

/// Decides a command. Whoever asked has given up on one that is too old: it must not happen behind their back.
pub fn command(tenant: &mut Tenant, job: &Job, shared: &mut Shared) -> Step {
    let late = shared.now.since(job.arrived) >= Duration::from_millis(COMMAND_WAIT_MS);
    if late || job.request.deadline.is_some_and(|deadline| shared.now > deadline) {
        return Step::Reply(bus_schema::ErrorBody::from(ErrorCode::Timeout).into());
    }
    let request = &job.request;
    match &request.command {
        Command::Presence { incarnation, agents } => presence::report(tenant, *incarnation, agents, shared),
        Command::SetStatus { agent_id, status } => status::set(tenant, request, *agent_id, *status, shared),
        Command::Take { conversation_id, thread_id } => {
            assign::take(tenant, request, *conversation_id, *thread_id, shared)
        }
        Command::Assign { conversation_id, thread_id, agent_id } => {
            assign::assign(tenant, request, *conversation_id, *thread_id, *agent_id, shared)
        }
        Command::Close { conversation_id, thread_id, reason } => {
            close::close(tenant, request, *conversation_id, *thread_id, *reason)
        }
        Command::Transfer { conversation_id, thread_id, agent_id, group_id, queue } => {
            let to = transfer::To { agent: *agent_id, group: *group_id, queue: *queue };
            transfer::transfer(tenant, request, *conversation_id, *thread_id, to, shared)
        }
        Command::Join { conversation_id, thread_id } => {
            join::join(tenant, request, *conversation_id, *thread_id)
        }
        Command::Leave { conversation_id, thread_id } => {
            join::leave(tenant, request, *conversation_id, *thread_id)
        }
        Command::Decline { conversation_id, thread_id } => {
            wishes::decline(tenant, request, *conversation_id, *thread_id, shared)
        }
        Command::SetPriority { conversation_id, thread_id, priority } => {
            wishes::set_priority(tenant, request, *conversation_id, *thread_id, *priority)
        }
        Command::SetSkills { conversation_id, thread_id, skills } => {
            wishes::set_skills(tenant, request, *conversation_id, *thread_id, skills, shared)
        }
        Command::Reopen { conversation_id, thread_id } => {
            reopen::reopen(tenant, request, *conversation_id, *thread_id, shared.now)
        }
        Command::Admit { .. }
        | Command::PresenceDigest { .. }
        | Command::ListConversations { .. }
        | Command::GetConversation { .. }
        | Command::Explain { .. }
        | Command::ListAgents
        | Command::ListGroups => Step::Nothing,
    }
}

pub fn chore(tenant: &mut Tenant, chore: Chore, shared: &mut Shared) -> Step {
    match chore {
        Chore::Drain(queue) => drain::drain(tenant, queue, shared),
        Chore::Care(agent) => care::care(tenant, agent, shared),
        Chore::Expire(conversation) => expire::expire(tenant, conversation, shared),
        Chore::Requeue(conversation) => mend::requeue(tenant, conversation, shared),
        Chore::Shed(agent) => mend::shed(tenant, agent, shared),
    }
}

/// Lines up what the passing of time asks for.
pub fn due(tenant: &mut Tenant, dead: &[IncarnationId], shared: &Shared) {
    while let Some((at, agent)) = tenant.due.first().copied().filter(|(at, _)| *at <= shared.now) {
        tenant.due.remove(&(at, agent));
        if let Some(agent) = tenant.agents.get_mut(&agent) {
            agent.due = None;
        }
        tenant.chores.add(Chore::Care(agent));
    }
    while let Some((at, queue)) = tenant.avoided.first().copied().filter(|(at, _)| *at <= shared.now) {
        tenant.avoided.remove(&(at, queue));
        match queue {
            Some(group) => tenant.look_again(group, shared),
            None => tenant.chores.add(Chore::Drain(None)),
        }
    }
    while let Some((at, conversation)) = tenant.timers.first().copied().filter(|(at, _)| *at <= shared.now) {
        tenant.timers.remove(&(at, conversation));
        if let Some(conversation) = tenant.conversations.get_mut(&conversation) {
            conversation.timer = None;
        }
        tenant.chores.add(Chore::Expire(conversation));
    }
    for edge in dead {
        for id in tenant.named.get(edge).into_iter().flatten() {
            // Who has no connection there any more loses nothing: the name goes with the next write.
            let presence = tenant.agents.get(id).and_then(|agent| agent.presence(*edge));
            if presence.is_some_and(|presence| presence.connections > 0) {
                tenant.chores.add(Chore::Care(*id));
            }
        }
    }
}

fn refused(code: ErrorCode, message: &str) -> Outcome {
    bus_schema::ErrorBody::new(code, message).into()
}
