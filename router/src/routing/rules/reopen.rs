//! Reopening: a closed thread never changes again, so the next one begins where it ended.
//!
//! Of a closed thread only ids are kept in memory; its last state is read again when somebody asks for this. The new
//! thread's id is the command's, and the command names the thread that it follows, so that a repeat cannot open a second
//! one: neither while that is the last, nor when others have come and gone since.

use bus_schema::{
    Body, ConversationId, ErrorCode, ThreadId, Timestamp,
    command::CommandRequest,
    event::Reopened,
    state::{CloseReason, LifeState, ThreadStatus},
};

use super::{
    super::{
        conversation::{Closing, Recall},
        plan::{After, Plan, Step},
        slot::Key,
        tenant::Tenant,
    },
    refused, thread,
};

pub fn reopen(
    tenant: &mut Tenant,
    request: &CommandRequest,
    id: ConversationId,
    thread: Option<ThreadId>,
    now: Timestamp,
) -> Step {
    if thread::as_agent(&request.actor).is_none() && !thread::is_supervisor(&request.actor) {
        return Step::Reply(refused(ErrorCode::Forbidden, "only staff reopen conversations"));
    }
    let key = Key::Conversation(id);
    let locked = tenant.is_locked(key);
    let new = ThreadId::from_uuid(request.command_id.uuid());
    let Some(conversation) = tenant.conversations.get_mut(&id).filter(|c| c.life_seq > 0) else {
        return Step::Reply(refused(ErrorCode::NotFound, "no such conversation"));
    };
    if conversation.is_frozen() {
        return Step::Reply(refused(ErrorCode::Internal, "the state of this thread cannot be read"));
    }
    if locked {
        return Step::Blocked(key);
    }
    if conversation.closed() == Some(new) {
        return Step::Reply(thread::done(new, None, conversation.life_seq));
    }
    if let Some(life) = conversation.life() {
        return Step::Reply(if life.thread_id == new {
            thread::done(new, life.assignee_id, conversation.life_seq)
        } else {
            refused(ErrorCode::Conflict, "a thread is open")
        });
    }
    if thread.is_some_and(|named| conversation.closed() != Some(named)) {
        return Step::Reply(refused(ErrorCode::Conflict, "another thread was the last"));
    }
    let Closing { state, reason } = match std::mem::take(&mut conversation.recall) {
        Recall::Unasked => return Step::Recall(id),
        Recall::Nothing => {
            return Step::Reply(refused(ErrorCode::Internal, "the last state of this thread cannot be read"));
        }
        Recall::Found(closing) => *closing,
    };
    if reason == CloseReason::Erased {
        return Step::Reply(refused(ErrorCode::NotFound, "no such conversation"));
    }
    let queue = tenant.config.queue_of(state.group_id);
    let member = thread::as_agent(&request.actor).is_some_and(|agent| tenant.config.is_member(agent, queue));
    if !member && !thread::is_supervisor(&request.actor) {
        return Step::Reply(refused(ErrorCode::Forbidden, "the agent is not a member of the group"));
    }
    let previous_thread_id = state.thread_id;
    let next = LifeState {
        thread_id: new,
        status: ThreadStatus::Queued,
        assignee_id: None,
        participants: Vec::new(),
        started_at: now,
        started_seq: None,
        previous_thread_id: Some(previous_thread_id),
        continues: false,
        ..state
    };
    let by = request.actor.author;
    let mut plan = Plan::new(After::Reply(thread::done(new, None, 0)));
    let body = Body::Reopened(Reopened { previous_thread_id, by, state: next });
    plan.life(id, by, Some(request.command_id.uuid()), body);
    Step::Write(plan)
}
