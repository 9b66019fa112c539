//! Watching a conversation: following it without taking part, seen by nobody in it.
//!
//! Invariant: agents watch conversations of their groups and their own, supervisors all of the tenant, for as long as
//! that is so; what one may not see is not there.

use bus_schema::{
    ErrorBody, ErrorCode,
    protocol::{ConversationRef, Done},
};
use serde_json::value::RawValue;

use super::seen;
use crate::session::{Session, payload};

pub async fn watch(session: &Session, given: Option<&RawValue>) -> Result<Done, ErrorBody> {
    let ConversationRef { conversation_id, thread_id } = payload(given)?;
    if thread_id.is_some() {
        return Err(ErrorBody::field("/payload/thread_id", "a conversation is watched, not a thread"));
    }
    seen(session, conversation_id).await?;
    let hold = session.hold.as_ref().ok_or(ErrorCode::Forbidden)?;
    hold.watch(session.conn.id, conversation_id).await?;
    Ok(Done {})
}

/// Ends a watch; what is not watched is not changed by it.
pub async fn unwatch(session: &Session, given: Option<&RawValue>) -> Result<Done, ErrorBody> {
    let ConversationRef { conversation_id, .. } = payload(given)?;
    seen(session, conversation_id).await?;
    let hold = session.hold.as_ref().ok_or(ErrorCode::Forbidden)?;
    hold.unwatch(session.conn.id, conversation_id).await;
    Ok(Done {})
}
