//! Closing: the thread's last `life` message, and the slot of whoever had it, in one batch.

use bus_schema::{
    AuthorType, Body, ConversationId, ErrorCode, ThreadId,
    command::CommandRequest,
    event::{AgentLoad, Closed},
    state::{CloseReason, ThreadStatus},
};

use super::{
    super::{
        plan::{After, Plan, Step},
        slot::Key,
        tenant::Tenant,
    },
    decide, refused, thread,
};

pub fn close(
    tenant: &Tenant,
    request: &CommandRequest,
    id: ConversationId,
    thread_id: Option<ThreadId>,
    reason: CloseReason,
) -> Step {
    let (_, life) = match thread::open(tenant, request, id, thread_id) {
        Ok(open) => open,
        Err(step) => return *step,
    };
    let actor = &request.actor;
    let allowed = match actor.author.kind {
        AuthorType::Visitor => life.visitor_id.uuid() == actor.author.id,
        _ => thread::is_supervisor(actor) || thread::as_agent(actor) == life.assignee_id,
    };
    if !allowed {
        return Step::Reply(refused(ErrorCode::NotParticipant, "the conversation is somebody else's"));
    }
    let cause = Some(request.command_id.uuid());
    let mut plan = Plan::new(After::Reply(thread::done(life.thread_id, None, 0)));
    if let Some(assignee) = life.assignee_id {
        if tenant.is_locked(Key::Agent(assignee)) {
            return Step::Blocked(Key::Agent(assignee));
        }
        if let Some(mut state) = decide::without(tenant, id, life) {
            if thread::as_agent(actor) == Some(assignee) {
                // Who closes what they have is there.
                state.misses = 0;
            }
            plan.agent(cause, Body::AgentLoad(AgentLoad { state }));
        }
    }
    let mut next = life.clone();
    (next.status, next.assignee_id) = (ThreadStatus::Closed, None);
    next.participants.clear();
    plan.life(id, actor.author, cause, Body::Closed(Closed { by: actor.author, reason, state: next }));
    Step::Write(plan)
}
