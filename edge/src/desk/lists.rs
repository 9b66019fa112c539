//! Lists for staff: open threads, agents and visitors, as they are now.

use bus_schema::{
    ErrorBody, ErrorCode,
    command::{Answer, Command},
    limits::{PAGE_DEFAULT, PAGE_MAX},
    protocol::{AgentList, ConversationPage, ListConversations, Nothing, VisitorList},
    state::AgentStatus,
};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::floor::{Ask, Floors, Which};
use crate::session::{Session, payload};

/// Visitors in one answer.
const VISITORS_MAX: usize = 1_000;

pub async fn conversations(
    session: &Session,
    given: Option<&RawValue>,
) -> Result<ConversationPage, ErrorBody> {
    let wanted: ListConversations = payload(given)?;
    let limit = wanted.limit.unwrap_or(PAGE_DEFAULT);
    if limit == 0 || limit > PAGE_MAX {
        return Err(ErrorBody::field("/payload/limit", format!("1 to {PAGE_MAX}")));
    }
    if wanted.subscribe {
        // Followed first and read then: what changes in between is pushed, and nothing is missed.
        follow(session, Which { view: wanted.view, group_id: wanted.group_id }).await?;
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

async fn follow(session: &Session, which: Which) -> Result<(), ErrorBody> {
    let (done, followed) = oneshot::channel();
    let ask = Ask::Subscribe { conn: session.conn.id, which, done };
    Floors::ask(&session.app, session.who.tenant(), ask).await?;
    followed.await.map_err(|_| ErrorBody::from(ErrorCode::Unavailable))?
}

/// The visitors whom the caller may see and who are online on any edge.
pub async fn visitors(session: &Session, given: Option<&RawValue>) -> Result<VisitorList, ErrorBody> {
    let Nothing {} = payload(given)?;
    let (done, seen) = oneshot::channel();
    Floors::ask(&session.app, session.who.tenant(), Ask::Visitors { conn: session.conn.id, done }).await?;
    let mut visitors = seen.await.map_err(|_| ErrorBody::from(ErrorCode::Unavailable))?;
    visitors.sort_unstable_by_key(|visitor| visitor.id);
    visitors.truncate(VISITORS_MAX);
    Ok(VisitorList { visitors })
}

/// Who is online.
pub async fn agents(session: &Session, given: Option<&RawValue>) -> Result<AgentList, ErrorBody> {
    let Nothing {} = payload(given)?;
    match session.command(Command::ListAgents).await? {
        Answer::Agents { mut agents } => {
            agents.retain(|agent| agent.status != AgentStatus::Offline);
            Ok(AgentList { agents })
        }
        _ => Err(ErrorCode::Internal.into()),
    }
}
