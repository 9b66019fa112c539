//! `PUT /v1/conversations/{id}/priority` and `…/skills`: what a supervisor wants of the open thread's routing.

use axum::{Json, extract::State};
use bus_schema::{ConversationId, ThreadId, command::Command, state::Priority};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::act::command;
use crate::{
    access::Caller,
    app::App,
    http::{Body, Check, Checks, PathId, Problem},
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutPriority {
    /// `low`, `normal`, `high` or `urgent`.
    pub priority: Priority,
    /// The thread that is meant; another one open answers `conflict`.
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub thread_id: Option<ThreadId>,
}

impl Check for PutPriority {
    fn check(&self, _: &mut Checks) {}
}

/// How urgent a thread is.
#[derive(Debug, Serialize, ToSchema)]
pub struct ThreadPriority {
    #[schema(value_type = uuid::Uuid)]
    pub thread_id: ThreadId,
    pub priority: Priority,
}

pub async fn put_priority(
    State(app): State<App>,
    caller: Caller,
    PathId(conversation_id): PathId<ConversationId>,
    Body(body): Body<PutPriority>,
) -> Result<Json<ThreadPriority>, Problem> {
    let PutPriority { priority, thread_id } = body;
    let order = |thread| Command::SetPriority { conversation_id, thread_id: Some(thread), priority };
    let done = command(&app, &caller, conversation_id, order, thread_id).await?;
    Ok(Json(ThreadPriority { thread_id: done.thread, priority }))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutSkills {
    /// Whoever gets the thread by itself has all of them; none: anybody. At most 50 of 64 characters.
    pub skills: Vec<String>,
    /// The thread that is meant; another one open answers `conflict`.
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub thread_id: Option<ThreadId>,
}

impl Check for PutSkills {
    fn check(&self, checks: &mut Checks) {
        checks.skills("/skills", &self.skills);
    }
}

/// What whoever gets a thread by itself must be able to do.
#[derive(Debug, Serialize, ToSchema)]
pub struct ThreadSkills {
    #[schema(value_type = uuid::Uuid)]
    pub thread_id: ThreadId,
    pub skills: Vec<String>,
}

pub async fn put_skills(
    State(app): State<App>,
    caller: Caller,
    PathId(conversation_id): PathId<ConversationId>,
    Body(body): Body<PutSkills>,
) -> Result<Json<ThreadSkills>, Problem> {
    let PutSkills { skills, thread_id } = body;
    let wanted = skills.clone();
    let order = |thread| Command::SetSkills { conversation_id, thread_id: Some(thread), skills: wanted };
    let done = command(&app, &caller, conversation_id, order, thread_id).await?;
    Ok(Json(ThreadSkills { thread_id: done.thread, skills }))
}
