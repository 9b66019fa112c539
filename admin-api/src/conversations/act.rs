//! Assign, transfer, close, reopen: by command to the router, which alone writes the life of a thread.

use axum::{Json, extract::State};
use bus_schema::{
    AgentId, ConversationId, ErrorCode, GroupId, ThreadId,
    claims::Role,
    command::{Answer, Command},
    state::CloseReason,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::scope::Current;
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

pub(super) async fn act(
    app: &App,
    caller: &Caller,
    conversation: ConversationId,
    command: impl FnOnce(ThreadId) -> Command,
    thread: Option<ThreadId>,
) -> Result<Json<Acted>, Problem> {
    let current = Current::read(app, caller, conversation).await?;
    let thread = thread.unwrap_or(current.life.state.thread_id);
    let acted = match app.command(caller, command(thread)).await? {
        Answer::Thread { thread_id, assignee_id, seq } => {
            Acted { thread_id: Some(thread_id), assignee_id, seq: Some(seq) }
        }
        Answer::Done => Acted { thread_id: Some(thread), assignee_id: None, seq: None },
        Answer::Admitted { .. }
        | Answer::PresenceDiffers { .. }
        | Answer::Conversations { .. }
        | Answer::Agents { .. }
        | Answer::Explained { .. }
        | Answer::Groups { .. } => return Err(ErrorCode::Internal.into()),
    };
    Ok(Json(acted))
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

/// Opens the next thread of a conversation whose last one is closed.
pub async fn reopen(
    State(app): State<App>,
    caller: Caller,
    PathId(conversation_id): PathId<ConversationId>,
) -> Result<Json<Acted>, Problem> {
    act(&app, &caller, conversation_id, |_| Command::Reopen { conversation_id }, None).await
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
    /// Wait in the group's queue if nobody can take it now.
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

pub async fn transfer(
    State(app): State<App>,
    caller: Caller,
    PathId(conversation_id): PathId<ConversationId>,
    Body(body): Body<Transfer>,
) -> Result<Json<Acted>, Problem> {
    let Transfer { agent_id, group_id, queue, thread_id } = body;
    let command =
        |thread| Command::Transfer { conversation_id, thread_id: Some(thread), agent_id, group_id, queue };
    act(&app, &caller, conversation_id, command, thread_id).await
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
