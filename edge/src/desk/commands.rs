//! Commands about threads, passed to the router.
//!
//! Invariant: nothing is changed here; the router's word is the answer, and what follows a command follows its
//! acceptance.

use bus_schema::{
    Body, ClientId, ErrorBody, ErrorCode, Visibility,
    command::{Answer, Command},
    event::{Kind, Message},
    protocol::{
        Action, Assign, ConversationRef, Done, SendAnswer, SetPriority, SetStatus, Transfer, TransferAnswer,
    },
    subject::ConversationSubjects,
};
use ops::chat::{self, Draft, TextLimit};
use serde_json::value::{RawValue, to_raw_value};

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

/// Hands the thread on, and then leaves the note; a note that could not be written undoes nothing.
pub async fn transfer(session: &Session, given: Option<&RawValue>) -> Result<TransferAnswer, ErrorBody> {
    let Transfer { conversation_id, thread_id, to, note, queue } = payload(given)?;
    let home = seen(session, conversation_id).await?;
    if to.agent_id.is_some() == to.group_id.is_some() {
        return Err(ErrorBody::field("/payload/to", "exactly one of agent_id and group_id"));
    }
    if queue && to.agent_id.is_some() {
        return Err(ErrorBody::field("/payload/queue", "only to a group: an agent has no queue"));
    }
    let note = note.map(|text| body_of(session, text)).transpose()?;
    let (agent_id, group_id) = (to.agent_id, to.group_id);
    let command = Command::Transfer { conversation_id, thread_id, agent_id, group_id, queue };
    let answer = session.command(command).await?;
    let Some(note) = note else { return Ok(TransferAnswer::default()) };
    Ok(match write(session, home, &answer, note).await {
        Ok(note) => TransferAnswer { note: Some(note), note_error: None },
        Err(error) => TransferAnswer { note: None, note_error: Some(error) },
    })
}

fn body_of(session: &Session, text: String) -> Result<Body, ErrorBody> {
    let data = to_raw_value(&Message { text, quick_replies: Vec::new() }).map_err(|_| ErrorCode::Internal)?;
    // 0 is no bound, here as there.
    let limit = TextLimit(usize::try_from(session.app.core.limits.text_bytes).unwrap_or(0));
    chat::content(Kind::Message, &data, limit, "/payload").map_err(|mut error| {
        for field in &mut error.errors {
            field.pointer = "/payload/note".to_owned();
        }
        error
    })
}

async fn write(
    session: &Session,
    home: ConversationSubjects,
    answer: &Answer,
    body: Body,
) -> Result<SendAnswer, ErrorBody> {
    let log = session.app.core.log(home.shard).ok_or(ErrorCode::Unavailable)?;
    let thread = match answer {
        Answer::Thread { thread_id, .. } => Some(*thread_id),
        _ => None,
    };
    let client_id = format!("transfer-{}", uuid::Uuid::now_v7());
    let draft = Draft {
        home,
        author: session.who.author(),
        client_id: ClientId::new(client_id).map_err(|_| ErrorCode::Internal)?,
        visibility: Visibility::Agents,
        body,
        thread,
        retry: false,
        cause: None,
    };
    // Whoever handed the thread on could see it then; the next group's conversations may be hidden from them.
    let sent = chat::send(log, &draft, None, |_| Ok(())).await?;
    Ok(SendAnswer { event_id: sent.event_id, seq: sent.seq, duplicate: sent.duplicate })
}
