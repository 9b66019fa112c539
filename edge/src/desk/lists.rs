//! Lists for staff: open threads, agents and visitors, as they are now.

use bus_schema::{
    ErrorBody, ErrorCode,
    command::{Answer, Command},
    limits::{PAGE_DEFAULT, PAGE_MAX},
    protocol::{AgentList, ConversationPage, ListConversations, Nothing},
    state::AgentStatus,
};
use serde_json::value::RawValue;

use crate::session::{Session, payload};

pub async fn conversations(
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
