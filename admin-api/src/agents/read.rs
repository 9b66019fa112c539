//! `GET /v1/agents` and `/v1/agents/{id}`.

use axum::{Json, extract::State};
use bus_schema::{AccountId, AgentId, GroupId, claims::Role};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{
    At, Id,
    schema::config::{accounts, agents, group_members, groups},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    access::Caller,
    app::App,
    db::{AgentRow, Times, meaning},
    http::{List, Page, PageQuery, PathId, Position, Problem, Query, Tagged},
};

#[derive(Debug, Serialize, ToSchema)]
pub struct AgentView {
    #[schema(value_type = uuid::Uuid)]
    pub id: AgentId,
    #[schema(value_type = uuid::Uuid)]
    pub account_id: AccountId,
    pub email: String,
    pub name: String,
    /// `agent`, `supervisor` or `admin`.
    #[schema(value_type = String)]
    pub role: Role,
    /// Conversations the agent may hold at once.
    pub capacity: i32,
    pub skills: Vec<String>,
    pub avatar_url: Option<String>,
    pub job_title: Option<String>,
    #[schema(value_type = Vec<uuid::Uuid>)]
    pub group_ids: Vec<GroupId>,
    #[serde(flatten)]
    pub times: Times,
}

impl AgentView {
    pub async fn load(
        connection: &mut AsyncPgConnection,
        row: AgentRow,
        email: String,
    ) -> Result<Self, Problem> {
        let groups = group_ids(connection, &[row.id], row.tenant_id).await?;
        Self::of(row, email, &groups)
    }

    fn of(row: AgentRow, email: String, groups: &[(Id<AgentId>, Id<GroupId>)]) -> Result<Self, Problem> {
        let mine = groups.iter().filter(|(agent, _)| *agent == row.id).map(|(_, group)| group.0);
        Ok(Self {
            id: row.id.0,
            account_id: row.account_id.0,
            email,
            role: meaning(&row.role)?,
            capacity: row.capacity,
            group_ids: mine.collect(),
            times: Times::of(row.created_at, row.updated_at, row.deleted_at),
            name: row.name,
            skills: row.skills,
            avatar_url: row.avatar_url,
            job_title: row.job_title,
        })
    }
}

/// Which of these agents is in which group.
async fn group_ids(
    connection: &mut AsyncPgConnection,
    agents: &[Id<AgentId>],
    tenant: Id<bus_schema::TenantId>,
) -> Result<Vec<(Id<AgentId>, Id<GroupId>)>, Problem> {
    let same = groups::tenant_id.eq(group_members::tenant_id).and(groups::id.eq(group_members::group_id));
    let pairs = group_members::table
        .inner_join(groups::table.on(same))
        .filter(group_members::tenant_id.eq(tenant).and(group_members::agent_id.eq_any(agents)))
        .filter(groups::deleted_at.is_null())
        .order((group_members::created_at, group_members::group_id))
        .select((group_members::agent_id, group_members::group_id))
        .load(connection)
        .await?;
    Ok(pairs)
}

pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<AgentView>>, Problem> {
    let page = Page::try_from(&query)?;
    let deleted = query.deleted.unwrap_or(false);
    if deleted {
        caller.must_be(Role::Admin)?;
    }
    let mut rows = agents::table
        .inner_join(accounts::table.on(accounts::id.eq(agents::account_id)))
        .filter(agents::tenant_id.eq(Id(caller.tenant)))
        .filter(agents::deleted_at.is_not_null().eq(deleted))
        .order((agents::created_at, agents::id))
        .limit(page.rows())
        .select((AgentRow::as_select(), accounts::email))
        .into_boxed();
    if let Some(Position { at, id }) = page.after {
        let later = agents::created_at.eq(At(at)).and(agents::id.gt(Id(AgentId::from_uuid(id))));
        rows = rows.filter(agents::created_at.gt(At(at)).or(later));
    }
    let mut connection = app.within(caller.tenant).await?;
    let rows: Vec<(AgentRow, String)> = rows.load(&mut connection).await?;
    let ids: Vec<_> = rows.iter().map(|(row, _)| row.id).collect();
    let groups = group_ids(&mut connection, &ids, Id(caller.tenant)).await?;
    let place = |(row, _): &(AgentRow, String)| Position { at: row.created_at.0, id: row.id.0.uuid() };
    let list = page.of_rows(rows, place, |(row, email)| AgentView::of(row, email, &groups));
    let data = list.data.into_iter().collect::<Result<_, Problem>>()?;
    Ok(Json(List { data, next_cursor: list.next_cursor }))
}

pub async fn get(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<AgentId>,
) -> Result<Tagged<AgentView>, Problem> {
    let mut connection = app.within(caller.tenant).await?;
    let (row, email): (AgentRow, String) = agents::table
        .inner_join(accounts::table.on(accounts::id.eq(agents::account_id)))
        .filter(agents::tenant_id.eq(Id(caller.tenant)).and(agents::id.eq(Id(id))))
        .filter(agents::deleted_at.is_null())
        .select((AgentRow::as_select(), accounts::email))
        .first(&mut connection)
        .await
        .optional()?
        .ok_or_else(Problem::not_found)?;
    Ok(Tagged::ok(row.revision, AgentView::load(&mut connection, row, email).await?))
}
