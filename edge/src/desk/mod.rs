//! What staff do about threads: one arm an action.
//!
//! Invariant: the role was checked before; what an agent may do to this thread is the router's word.

use std::sync::Arc;

use bus_schema::{
    ErrorBody, ErrorCode,
    command::{Answer, Command},
    limits::{PAGE_DEFAULT, PAGE_MAX},
    protocol::{Action, ConversationPage, ConversationRef, Done, ListConversations, SetStatus},
};
use serde_json::value::RawValue;

use crate::{
    conn::Reply,
    session::{Session, payload},
};

/// Carries out one of the actions of staff.
pub async fn carry_out(session: &Arc<Session>, action: Action, reply: Reply, given: Option<&RawValue>) {
    match action {
        Action::SetStatus => reply.with(set_status(session, given).await),
        Action::ListConversations => reply.with(list_conversations(session, given).await),
        Action::Take => reply.with(take(session, given).await),
        _ => reply.fail(ErrorBody::field("/action", "this action is not supported yet")),
    }
}

async fn list_conversations(
    session: &Session,
    given: Option<&RawValue>,
) -> Result<ConversationPage, ErrorBody> {
    let wanted: ListConversations = payload(given)?;
    if wanted.subscribe {
        return Err(ErrorBody::field("/payload/subscribe", "following a view is not supported yet"));
    }
    let limit = wanted.limit.unwrap_or(PAGE_DEFAULT);
    if limit == 0 || limit > PAGE_MAX {
        return Err(ErrorBody::field("/payload/limit", format!("1 to {PAGE_MAX}")));
    }
    let command = Command::ListConversations {
        view: wanted.view,
        group_id: wanted.group_id,
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
        cursor: wanted.cursor,
    };
    match session.command(command).await? {
        Answer::Conversations { conversations, next_cursor, total, .. } => {
            Ok(ConversationPage { conversations, next_cursor, total })
        }
        _ => Err(ErrorCode::Internal.into()),
    }
}

async fn set_status(session: &Session, given: Option<&RawValue>) -> Result<SetStatus, ErrorBody> {
    let wanted: SetStatus = payload(given)?;
    session.ask_status(wanted.status).await?;
    Ok(wanted)
}

async fn take(session: &Session, given: Option<&RawValue>) -> Result<Done, ErrorBody> {
    let ConversationRef { conversation_id, thread_id } = payload(given)?;
    session.who.home(&session.app, conversation_id)?;
    session.command(Command::Take { conversation_id, thread_id }).await?;
    Ok(Done {})
}
