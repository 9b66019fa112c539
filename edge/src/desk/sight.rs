//! The first check of whatever staff ask about a conversation: what one may not see is not there.

use bus_schema::{ConversationId, ErrorBody, ErrorCode, subject::ConversationSubjects};
use ops::chat;

use crate::session::Session;

/// The conversation, if it has begun and is the caller's business.
pub async fn seen(session: &Session, id: ConversationId) -> Result<ConversationSubjects, ErrorBody> {
    let home = session.who.home(&session.app, id)?;
    let log = session.app.core.log(home.shard).ok_or(ErrorCode::Unavailable)?;
    let life = chat::life(log, home).await?.ok_or(ErrorCode::NotFound)?;
    session.who.sender().may_see(&session.app.core.directory.now(), &life.state)?;
    Ok(home)
}
