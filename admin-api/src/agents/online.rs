//! `GET /v1/agents/online` and `PUT /v1/agents/{id}/status`, answered by the router.

use axum::{Json, extract::State};
use bus_schema::{
    AgentId, ErrorCode, Timestamp,
    command::{Answer, Command},
    protocol::AgentView as Live,
    state::AgentStatus,
};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use persister::db::{Id, schema::config::agents};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    access::Caller,
    app::App,
    auth::{PutStatus, StatusView},
    http::{Body, List, Page, PathId, Position, Problem, Query},
};

/// An agent as routing sees it now.
#[derive(Debug, Serialize, ToSchema)]
pub struct OnlineAgent {
    #[schema(value_type = uuid::Uuid)]
    pub id: AgentId,
    /// `accepting` or `not_accepting`.
    pub status: AgentStatus,
    pub load: u32,
    pub capacity: u32,
}

impl From<Live> for OnlineAgent {
    fn from(agent: Live) -> Self {
        Self { id: agent.id, status: agent.status, load: agent.load, capacity: agent.capacity }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnlineQuery {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Agents with a live connection, by id.
pub async fn online(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<OnlineQuery>,
) -> Result<Json<List<OnlineAgent>>, Problem> {
    let page = Page::of(query.limit, query.cursor.as_deref())?;
    let Answer::Agents { agents } = app.command(&caller, Command::ListAgents).await? else {
        return Err(ErrorCode::Internal.into());
    };
    let later = |agent: &Live| page.after.is_none_or(|after| agent.id.uuid() > after.id);
    let online = agents.into_iter().filter(|agent| agent.status != AgentStatus::Offline && later(agent));
    let mut online: Vec<Live> = online.collect();
    online.sort_unstable_by_key(|agent| agent.id);
    online.truncate(page.limit + 1);
    let place = |agent: &Live| Position { at: Timestamp::default(), id: agent.id.uuid() };
    Ok(Json(page.of_rows(online, place, OnlineAgent::from)))
}

/// Sets another agent's status, by command to the router.
pub async fn put_status(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<AgentId>,
    Body(body): Body<PutStatus>,
) -> Result<Json<StatusView>, Problem> {
    let there = agents::table.find((Id(caller.tenant), Id(id))).filter(agents::deleted_at.is_null());
    let there = there
        .select(agents::id)
        .first::<Id<AgentId>>(&mut app.within(caller.tenant).await?)
        .await
        .optional()?;
    there.ok_or_else(Problem::not_found)?;
    app.command(&caller, Command::SetStatus { agent_id: id, status: body.status }).await?;
    Ok(Json(StatusView { status: body.status }))
}
