//! Commands about threads, passed to the router.
//!
//! Invariant: nothing is changed here; the router's word is the answer, and what follows a command follows its
//! acceptance.

use bus_schema::{
    ClientId, ErrorBody, ErrorCode,
    command::{Answer, Command},
    protocol::{
        Action, Assign, ConversationRef, Done, SendAnswer, SetPriority, SetSkills, SetStatus, Transfer,
        TransferAnswer,
    },
    skill,
    subject::ConversationSubjects,
};
use ops::chat::{Note, TextLimit};
use serde_json::value::RawValue;

use super::seen;
use crate::session::{Session, payload};

pub async fn set_status(session: &Session, given: Option<&RawValue>) -> Result<SetStatus, ErrorBody> {
    let wanted: SetStatus = payload(given)?;
    session.ask_status(wanted.status).await?;
    Ok(wanted)
}

/// `take`, `decline`, `join`, `leave`.
pub async fn about(session: &Session, action: Action, given: Option<&RawValue>) -> Result<Done, ErrorBody> {
    let ConversationRef { conversation_id, thread_id } = payload(given)?;
    seen(session, conversation_id).await?;
    let command = match action {
        Action::Take => Command::Take { conversation_id, thread_id },
        Action::Decline => Command::Decline { conversation_id, thread_id },
        Action::Join => Command::Join { conversation_id, thread_id },
        Action::Leave => Command::Leave { conversation_id, thread_id },
        _ => return Err(ErrorCode::Internal.into()),
    };
    session.command(command).await?;
    if let (Action::Join, Some(hold)) = (action, &session.hold) {
        // The agent's connections elsewhere hear of it by the router's signal.
        hold.takes_part_in(conversation_id).await;
    }
    Ok(Done {})
}

pub async fn assign(session: &Session, given: Option<&RawValue>) -> Result<Done, ErrorBody> {
    let Assign { conversation_id, thread_id, agent_id } = payload(given)?;
    seen(session, conversation_id).await?;
    session.command(Command::Assign { conversation_id, thread_id, agent_id }).await?;
    Ok(Done {})
}

pub async fn set_priority(session: &Session, given: Option<&RawValue>) -> Result<Done, ErrorBody> {
    let SetPriority { conversation_id, thread_id, priority } = payload(given)?;
    seen(session, conversation_id).await?;
    session.command(Command::SetPriority { conversation_id, thread_id, priority }).await?;
    Ok(Done {})
}

pub async fn set_skills(session: &Session, given: Option<&RawValue>) -> Result<Done, ErrorBody> {
    let SetSkills { conversation_id, thread_id, skills } = payload(given)?;
    seen(session, conversation_id).await?;
    let flaws = skill::flaws("/payload/skills", &skills);
    if !flaws.is_empty() {
        return Err(ErrorBody::fields(flaws));
    }
    session.command(Command::SetSkills { conversation_id, thread_id, skills }).await?;
    Ok(Done {})
}

/// Hands the thread on, and then leaves the note; a note that could not be written undoes nothing.
pub async fn transfer(session: &Session, given: Option<&RawValue>) -> Result<TransferAnswer, ErrorBody> {
    let Transfer { conversation_id, thread_id, to, note, queue } = payload(given)?;
    let home = seen(session, conversation_id).await?;
    if to.agent_id.is_some() == to.group_id.is_some() {
        return Err(ErrorBody::field("/payload/to", "exactly one of agent_id and group_id"));
    }
    // 0 is no bound, here as there.
    let limit = TextLimit(usize::try_from(session.app.core.limits.text_bytes).unwrap_or(0));
    let note = note.map(|text| Note::new(text, limit, "/payload/note")).transpose()?;
    let (agent_id, group_id) = (to.agent_id, to.group_id);
    let command = Command::Transfer { conversation_id, thread_id, agent_id, group_id, queue };
    let answer = session.command(command).await?;
    let Some(note) = note else { return Ok(TransferAnswer::default()) };
    Ok(match leave(session, home, &answer, note).await {
        Ok(note) => TransferAnswer { note: Some(note), note_error: None },
        Err(error) => TransferAnswer { note: None, note_error: Some(error) },
    })
}

async fn leave(
    session: &Session,
    home: ConversationSubjects,
    answer: &Answer,
    note: Note,
) -> Result<SendAnswer, ErrorBody> {
    let log = session.app.core.log(home.shard).ok_or(ErrorCode::Unavailable)?;
    let client_id = format!("transfer-{}", uuid::Uuid::now_v7());
    let client_id = ClientId::new(client_id).map_err(|_| ErrorCode::Internal)?;
    let sent = note.leave(log, home, session.who.author(), client_id, answer).await?;
    Ok(SendAnswer { event_id: sent.event_id, seq: sent.seq, duplicate: sent.duplicate })
}
