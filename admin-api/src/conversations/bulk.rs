//! `POST /v1/conversations/bulk`: one action on many conversations, with a result each.

use axum::{Json, extract::State};
use bus_schema::{
    AgentId, ConversationId, ErrorBody, ErrorCode, FieldError, TagId, claims::Role, command::Command,
    state::CloseReason,
};
use futures::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{act, tags};
use crate::{
    access::Caller,
    app::App,
    http::{Body, Check, Checks, Problem},
};

const IDS_MAX: usize = 100;
/// Worked on at once.
const AT_ONCE: usize = 8;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bulk {
    /// 1 to 100.
    #[schema(value_type = Vec<uuid::Uuid>, min_items = 1, max_items = 100)]
    pub ids: Vec<ConversationId>,
    pub action: BulkAction,
    /// To whom, for `assign`.
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub agent_id: Option<AgentId>,
    /// Which, for `tag` and `untag`.
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub tag_id: Option<TagId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BulkAction {
    Assign,
    Close,
    Tag,
    Untag,
}

impl Check for Bulk {
    fn check(&self, checks: &mut Checks) {
        checks.that("/ids", (1..=IDS_MAX).contains(&self.ids.len()), "must hold 1 to 100 ids");
        for (at, id) in self.ids.iter().take(IDS_MAX).enumerate() {
            checks.that(&format!("/ids/{at}"), !self.ids[..at].contains(id), "is there twice");
        }
        let assigns = self.action == BulkAction::Assign;
        checks.that("/agent_id", self.agent_id.is_some() == assigns, "goes with the action assign alone");
        let tags = matches!(self.action, BulkAction::Tag | BulkAction::Untag);
        checks.that("/tag_id", self.tag_id.is_some() == tags, "goes with the actions tag and untag alone");
    }
}

/// What became of each, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkResults {
    pub results: Vec<BulkResult>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct BulkResult {
    #[schema(value_type = uuid::Uuid)]
    pub id: ConversationId,
    pub success: bool,
    /// The status that the same request for this one alone would have had.
    pub status: u16,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

pub async fn bulk(
    State(app): State<App>,
    caller: Caller,
    Body(body): Body<Bulk>,
) -> Result<Json<BulkResults>, Problem> {
    if let (BulkAction::Tag, Some(tag)) = (body.action, body.tag_id)
        && !tags::must_exist(&app, &caller, tag).await?
    {
        return Err(Problem::invalid(vec![FieldError::new("/tag_id", "is no tag of this tenant")]));
    }
    let (app, caller, wanted) = (&app, &caller, &body);
    let results: Vec<BulkResult> = stream::iter(body.ids.iter().copied())
        .map(|id| async move { outcome(id, one(app, caller, wanted, id).await) })
        .buffered(AT_ONCE)
        .collect()
        .await;
    Ok(Json(BulkResults { results }))
}

fn outcome(id: ConversationId, done: Result<(), Problem>) -> BulkResult {
    match done {
        Ok(()) => BulkResult { id, success: true, status: 200, error: None },
        Err(problem) => {
            BulkResult { id, success: false, status: problem.status.as_u16(), error: Some(problem.body) }
        }
    }
}

async fn one(app: &App, caller: &Caller, wanted: &Bulk, id: ConversationId) -> Result<(), Problem> {
    match (wanted.action, wanted.agent_id, wanted.tag_id) {
        (BulkAction::Assign, Some(agent), _) => {
            if caller.role < Role::Supervisor && agent != caller.agent {
                return Err(ErrorCode::Forbidden.into());
            }
            act::assign_to(app, caller, id, agent, None).await.map(drop)
        }
        (BulkAction::Close, ..) => {
            let close = |thread| Command::Close {
                conversation_id: id,
                thread_id: Some(thread),
                reason: CloseReason::ClosedByAgent,
            };
            act::act(app, caller, id, close, None).await.map(drop)
        }
        (BulkAction::Tag | BulkAction::Untag, _, Some(tag)) => {
            tags::set_tag(app, caller, id, tag, wanted.action == BulkAction::Tag).await.map(drop)
        }
        (BulkAction::Assign, None, _) | (BulkAction::Tag | BulkAction::Untag, _, None) => {
            Err(ErrorCode::InvalidRequest.into())
        }
    }
}
