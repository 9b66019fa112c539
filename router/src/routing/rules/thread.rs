//! What commands about a thread check before anything else.

use bus_schema::{
    AgentId, AuthorType, ConversationId, ErrorCode, ThreadId,
    claims::Role,
    command::{Actor, Answer, CommandRequest, Outcome},
    state::{COMMANDS_KEPT, CommandRecord, LifeState},
};

use super::{
    super::{conversation::Conversation, plan::Step, slot::Key, tenant::Tenant},
    refused,
};

/// The open thread that a command is about, or the step that answers instead.
pub fn open<'a>(
    tenant: &'a Tenant,
    request: &CommandRequest,
    id: ConversationId,
    thread: Option<ThreadId>,
) -> Result<(&'a Conversation, &'a LifeState), Box<Step>> {
    let reply = |code: ErrorCode| Box::new(Step::Reply(bus_schema::ErrorBody::from(code).into()));
    let known = tenant.conversations.get(&id).filter(|c| c.life_seq > 0 || c.life().is_some());
    let conversation = known.ok_or_else(|| reply(ErrorCode::NotFound))?;
    if conversation.is_frozen() {
        return Err(Box::new(Step::Reply(refused(
            ErrorCode::Internal,
            "the state of this thread cannot be read",
        ))));
    }
    if let Some(outcome) = repeated(conversation, request) {
        return Err(Box::new(Step::Reply(outcome)));
    }
    if tenant.is_locked(Key::Conversation(id)) {
        return Err(Box::new(Step::Blocked(Key::Conversation(id))));
    }
    let Some(life) = conversation.life() else { return Err(reply(ErrorCode::ThreadClosed)) };
    if thread.is_some_and(|named| named != life.thread_id) {
        return Err(Box::new(Step::Reply(refused(ErrorCode::Conflict, "another thread is open"))));
    }
    Ok((conversation, life))
}

/// The outcome of a command that was carried out before, also by another router.
fn repeated(conversation: &Conversation, request: &CommandRequest) -> Option<Outcome> {
    if !conversation.lock.is_free() {
        return None;
    }
    // Where it was stored was not known when it was recorded: anything from there on serves to read it back.
    let recorded = conversation.desk().and_then(|desk| find(&desk.commands, request));
    let recorded = recorded.map(|outcome| with_seq(outcome, conversation.life_seq));
    let command = request.command_id.uuid();
    // A hand-over's successor has its id, long after the record of it is gone.
    let opened = || conversation.life().filter(|life| life.thread_id.uuid() == command);
    let opened = || opened().map(|life| done(life.thread_id, life.assignee_id, conversation.life_seq));
    let closed = || conversation.closed_by(command).map(|closed| done(closed, None, conversation.life_seq));
    recorded.or_else(opened).or_else(closed)
}

pub fn find(records: &[CommandRecord], request: &CommandRequest) -> Option<Outcome> {
    records.iter().find(|record| record.command_id == request.command_id).map(|record| record.outcome.clone())
}

/// Remembers a command with its outcome, and forgets the oldest.
pub fn remember(records: &mut Vec<CommandRecord>, request: &CommandRequest, outcome: Outcome) {
    records.push(CommandRecord { command_id: request.command_id, outcome });
    let excess = records.len().saturating_sub(COMMANDS_KEPT);
    records.drain(..excess);
}

/// The outcome with a place in the log.
pub fn with_seq(outcome: Outcome, life_seq: u64) -> Outcome {
    match outcome {
        Outcome::Accepted { answer: Answer::Thread { thread_id, assignee_id, .. } } => {
            done(thread_id, assignee_id, life_seq)
        }
        other => other,
    }
}

pub fn done(thread_id: ThreadId, assignee_id: Option<AgentId>, seq: u64) -> Outcome {
    Outcome::Accepted { answer: Answer::Thread { thread_id, assignee_id, seq } }
}

/// Acts on the whole tenant: supervisors, and programs whose scopes the sender has checked.
pub fn is_supervisor(actor: &Actor) -> bool {
    match actor.author.kind {
        AuthorType::System | AuthorType::Bot => true,
        AuthorType::Agent => actor.role.is_some_and(|role| role >= Role::Supervisor),
        AuthorType::Visitor => false,
    }
}

pub fn as_agent(actor: &Actor) -> Option<AgentId> {
    (actor.author.kind == AuthorType::Agent).then(|| AgentId::from_uuid(actor.author.id))
}
