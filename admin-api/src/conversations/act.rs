//! Assign, transfer, close, reopen: by command to the router, which alone writes the life of a thread.

use axum::{Json, extract::State};
use bus_schema::{
    AgentId, ClientId, ConversationId, ErrorBody, ErrorCode, GroupId, ThreadId,
    claims::Role,
    command::{Answer, Command},
    protocol::SendAnswer,
    state::CloseReason,
};
use http::HeaderMap;
use ops::chat::{Note, TextLimit};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{scope::Current, send::client_id};
use crate::{
    access::Caller,
    app::App,
    http::{Body, Check, Checks, PathId, Problem},
};

/// What a command led to.
#[derive(Debug, Serialize, ToSchema)]
pub struct Acted {
    #[schema(value_type = Option<uuid::Uuid>)]
    pub thread_id: Option<ThreadId>,
    #[schema(value_type = Option<uuid::Uuid>)]
    pub assignee_id: Option<AgentId>,
    /// Where it stands in the log: a `min_seq` for reading it back.
    pub seq: Option<u64>,
}

/// A command that the router carried out.
pub(super) struct Done {
    /// The conversation as it was before.
    pub before: Current,
    /// The thread that was meant.
    pub thread: ThreadId,
    pub answer: Answer,
}

impl Done {
    fn acted(&self) -> Result<Acted, Problem> {
        match self.answer {
            Answer::Thread { thread_id, assignee_id, seq } => {
                Ok(Acted { thread_id: Some(thread_id), assignee_id, seq: Some(seq) })
            }
            Answer::Done => Ok(Acted { thread_id: Some(self.thread), assignee_id: None, seq: None }),
            Answer::Admitted { .. }
            | Answer::PresenceDiffers { .. }
            | Answer::Conversations { .. }
            | Answer::Agents { .. }
            | Answer::Explained { .. }
            | Answer::Groups { .. } => Err(ErrorCode::Internal.into()),
        }
    }
}

/// Commands the router about a thread of the conversation: the last one, if none is named.
pub(super) async fn command(
    app: &App,
    caller: &Caller,
    conversation: ConversationId,
    command: impl FnOnce(ThreadId) -> Command,
    thread: Option<ThreadId>,
) -> Result<Done, Problem> {
    let before = Current::read(app, caller, conversation).await?;
    let thread = thread.unwrap_or(before.life.state.thread_id);
    let answer = app.command(caller, command(thread)).await?;
    Ok(Done { before, thread, answer })
}

pub(super) async fn act(
    app: &App,
    caller: &Caller,
    conversation: ConversationId,
    order: impl FnOnce(ThreadId) -> Command,
    thread: Option<ThreadId>,
) -> Result<Json<Acted>, Problem> {
    command(app, caller, conversation, order, thread).await?.acted().map(Json)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Assign {
    #[schema(value_type = uuid::Uuid)]
    pub agent_id: AgentId,
    /// The thread that is meant; another one open answers `conflict`.
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub thread_id: Option<ThreadId>,
}

impl Check for Assign {
    fn check(&self, _: &mut Checks) {}
}

/// Assigns the open thread: agents to themselves, supervisors to anybody.
pub async fn assign(
    State(app): State<App>,
    caller: Caller,
    PathId(conversation_id): PathId<ConversationId>,
    Body(body): Body<Assign>,
) -> Result<Json<Acted>, Problem> {
    assign_to(&app, &caller, conversation_id, body.agent_id, body.thread_id).await
}

pub(super) async fn assign_to(
    app: &App,
    caller: &Caller,
    conversation_id: ConversationId,
    agent_id: AgentId,
    thread: Option<ThreadId>,
) -> Result<Json<Acted>, Problem> {
    if caller.role < Role::Supervisor {
        if agent_id != caller.agent {
            return Err(ErrorCode::Forbidden.into());
        }
        let take = |thread| Command::Take { conversation_id, thread_id: Some(thread) };
        return act(app, caller, conversation_id, take, thread).await;
    }
    let command = |thread| Command::Assign { conversation_id, thread_id: Some(thread), agent_id };
    act(app, caller, conversation_id, command, thread).await
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reopen {
    /// The closed thread that is meant; another one that was the last answers `conflict`.
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub thread_id: Option<ThreadId>,
}

impl Check for Reopen {
    fn check(&self, _: &mut Checks) {}
}

/// Opens the next thread of a conversation whose last one is closed.
pub async fn reopen(
    State(app): State<App>,
    caller: Caller,
    PathId(conversation_id): PathId<ConversationId>,
    body: Option<Body<Reopen>>,
) -> Result<Json<Acted>, Problem> {
    let command = |thread| Command::Reopen { conversation_id, thread_id: Some(thread) };
    act(&app, &caller, conversation_id, command, body.and_then(|Body(body)| body.thread_id)).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub agent_id: Option<AgentId>,
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub group_id: Option<GroupId>,
    /// Left for the next one, for staff alone.
    #[serde(default)]
    pub note: Option<String>,
    /// Wait if nobody can take it now: in the group's queue, or, where an agent is named, in that of the thread's own.
    #[serde(default)]
    pub queue: bool,
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub thread_id: Option<ThreadId>,
}

impl Check for Transfer {
    fn check(&self, checks: &mut Checks) {
        let one = self.agent_id.is_some() != self.group_id.is_some();
        checks.that("/agent_id", one, "give either agent_id or group_id");
    }
}

/// What a transfer led to, and what became of the note.
#[derive(Debug, Serialize, ToSchema)]
pub struct Transferred {
    #[serde(flatten)]
    pub acted: Acted,
    /// The note, as it was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<SendAnswer>,
    /// The thread was handed on, and the note was not written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note_error: Option<ErrorBody>,
}

pub async fn transfer(
    State(app): State<App>,
    caller: Caller,
    PathId(conversation_id): PathId<ConversationId>,
    headers: HeaderMap,
    Body(body): Body<Transfer>,
) -> Result<Json<Transferred>, Problem> {
    let Transfer { agent_id, group_id, note, queue, thread_id } = body;
    let client_id = client_id(&headers, &["note", note.as_deref().unwrap_or_default()])?;
    let note = note.map(|text| Note::new(text, TextLimit(app.text_max), "/note")).transpose()?;
    let to =
        |thread| Command::Transfer { conversation_id, thread_id: Some(thread), agent_id, group_id, queue };
    let done = command(&app, &caller, conversation_id, to, thread_id).await?;
    let mut answer = Transferred { acted: done.acted()?, note: None, note_error: None };
    if let Some(note) = note {
        match leave(note, &caller, client_id, &done).await {
            Ok(stored) => answer.note = Some(stored),
            Err(error) => answer.note_error = Some(error),
        }
    }
    Ok(Json(answer))
}

async fn leave(
    note: Note,
    caller: &Caller,
    client_id: ClientId,
    done: &Done,
) -> Result<SendAnswer, ErrorBody> {
    let Current { log, home, .. } = &done.before;
    let sent = note.leave(log, *home, caller.author(), client_id, &done.answer).await?;
    Ok(SendAnswer { event_id: sent.event_id, seq: sent.seq, duplicate: sent.duplicate })
}

#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseThread {
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub thread_id: Option<ThreadId>,
}

impl Check for CloseThread {
    fn check(&self, _: &mut Checks) {}
}

pub async fn close(
    State(app): State<App>,
    caller: Caller,
    PathId(conversation_id): PathId<ConversationId>,
    body: Option<Body<CloseThread>>,
) -> Result<Json<Acted>, Problem> {
    close_with(&app, &caller, conversation_id, body, CloseReason::ClosedByAgent).await
}

pub async fn resolve(
    State(app): State<App>,
    caller: Caller,
    PathId(conversation_id): PathId<ConversationId>,
    body: Option<Body<CloseThread>>,
) -> Result<Json<Acted>, Problem> {
    close_with(&app, &caller, conversation_id, body, CloseReason::Resolved).await
}

async fn close_with(
    app: &App,
    caller: &Caller,
    conversation_id: ConversationId,
    body: Option<Body<CloseThread>>,
    reason: CloseReason,
) -> Result<Json<Acted>, Problem> {
    let command = |thread| Command::Close { conversation_id, thread_id: Some(thread), reason };
    act(app, caller, conversation_id, command, body.and_then(|Body(body)| body.thread_id)).await
}
