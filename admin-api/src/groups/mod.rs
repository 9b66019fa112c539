//! Groups: what routing targets, and who is in them.

mod members;
mod write;

pub use members::{PutMember, put_member, remove_member};
pub use write::{NewGroup, PatchGroup, create, delete, patch, restore};

use axum::{Json, extract::State};
use bus_schema::{
    AgentId, GroupId,
    claims::Role,
    config::{MemberPriority, RoutingSettings, WhenOffline},
    state::Strategy,
};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{At, Id, schema::config::groups};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    access::Caller,
    app::App,
    db::{Change, GroupRow, MemberRow, Times, members_of, unknown},
    http::{List, Page, PageQuery, PathId, Position, Problem, Query, Tagged},
    routing::RoutingBody,
};

#[derive(Debug, Serialize, ToSchema)]
pub struct GroupView {
    #[schema(value_type = uuid::Uuid)]
    pub id: GroupId,
    pub name: String,
    /// How an agent is picked: `round_robin`, `least_loaded`, `sticky`, `manual` or `broadcast`.
    #[schema(value_type = String)]
    pub strategy: Strategy,
    /// Where a sticky visitor's agent is away.
    #[schema(value_type = String)]
    pub second_strategy: Strategy,
    /// Threads that may wait; null: no bound.
    pub queue_max: Option<u32>,
    /// `keep` or `close`: what happens to a start while nobody is there.
    #[schema(value_type = String)]
    pub when_offline: WhenOffline,
    /// What is absent is the tenant's.
    #[schema(value_type = RoutingBody)]
    pub routing: RoutingSettings,
    pub members: Vec<MemberView>,
    #[serde(flatten)]
    pub times: Times,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct MemberView {
    #[schema(value_type = uuid::Uuid)]
    pub agent_id: AgentId,
    /// `first`, `normal`, `last` or `supervisor`.
    #[schema(value_type = String)]
    pub priority: MemberPriority,
}

impl GroupView {
    fn of(row: &GroupRow, members: &[MemberRow]) -> Result<Self, Problem> {
        let record = row.record(members)?;
        let member = |member: bus_schema::config::Member| MemberView {
            agent_id: member.agent_id,
            priority: member.priority,
        };
        Ok(Self {
            id: record.group_id,
            name: record.name,
            strategy: record.strategy,
            second_strategy: record.second_strategy,
            queue_max: record.queue_max,
            when_offline: record.when_offline,
            routing: record.routing,
            members: record.members.into_iter().map(member).collect(),
            times: Times::of(row.created_at, row.updated_at, row.deleted_at),
        })
    }

    async fn load(connection: &mut AsyncPgConnection, row: &GroupRow) -> Result<Self, Problem> {
        let members = members_of(connection, row.tenant_id.0, row.id.0).await?;
        Self::of(row, &members)
    }
}

pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<GroupView>>, Problem> {
    let page = Page::try_from(&query)?;
    let deleted = query.deleted.unwrap_or(false);
    if deleted {
        caller.must_be(Role::Admin)?;
    }
    let mut rows = groups::table
        .filter(groups::tenant_id.eq(Id(caller.tenant)))
        .filter(groups::deleted_at.is_not_null().eq(deleted))
        .order((groups::created_at, groups::id))
        .limit(page.rows())
        .select(GroupRow::as_select())
        .into_boxed();
    if let Some(Position { at, id }) = page.after {
        let later = groups::created_at.eq(At(at)).and(groups::id.gt(Id(GroupId::from_uuid(id))));
        rows = rows.filter(groups::created_at.gt(At(at)).or(later));
    }
    let mut connection = app.within(caller.tenant).await?;
    let rows: Vec<GroupRow> = rows.load(&mut connection).await?;
    let list = page.of_rows(rows, |row| Position { at: row.created_at.0, id: row.id.0.uuid() }, |row| row);
    let mut data = Vec::with_capacity(list.data.len());
    for row in &list.data {
        data.push(GroupView::load(&mut connection, row).await?);
    }
    Ok(Json(List { data, next_cursor: list.next_cursor }))
}

pub async fn get(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<GroupId>,
) -> Result<Tagged<GroupView>, Problem> {
    let mut connection = app.within(caller.tenant).await?;
    let row: GroupRow = groups::table
        .find((Id(caller.tenant), Id(id)))
        .filter(groups::deleted_at.is_null())
        .select(GroupRow::as_select())
        .first(&mut connection)
        .await
        .optional()?
        .ok_or_else(Problem::not_found)?;
    Ok(Tagged::ok(row.revision, GroupView::load(&mut connection, &row).await?))
}

/// Refuses groups that are not in the tenant.
pub async fn must_exist(
    change: &mut Change,
    ids: &[GroupId],
    pointer: impl Fn(usize) -> String,
) -> Result<(), Problem> {
    let tenant = change.tenant();
    let there: Vec<Id<GroupId>> = groups::table
        .filter(groups::tenant_id.eq(Id(tenant)).and(groups::deleted_at.is_null()))
        .filter(groups::id.eq_any(ids.iter().copied().map(Id)))
        .select(groups::id)
        .load(change.connection())
        .await?;
    let missing = ids.iter().enumerate().filter(|(_, id)| !there.contains(&Id(**id)));
    let errors: Vec<_> = missing.map(|(at, _)| unknown(pointer(at), "group")).collect();
    if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors)) }
}
