//! Making, changing, deleting and restoring groups.

use axum::extract::State;
use bus_schema::{GroupId, config::Record, config::WhenOffline, state::Strategy};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use http::StatusCode;
use persister::db::{
    At, Id,
    schema::config::{groups, tenants},
};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::GroupView;
use crate::{
    access::Caller,
    app::App,
    db::{Change, GroupRow, members_of, named, taken, word},
    http::{Body, Check, Checks, IfMatch, PathId, Problem, Tagged, present},
    routing::{RoutingBody, stored},
};

const QUEUE_CEILING: u32 = 1_000_000;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGroup {
    pub name: String,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub strategy: Strategy,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub second_strategy: Strategy,
    #[serde(default)]
    pub queue_max: Option<u32>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub when_offline: WhenOffline,
    #[serde(default)]
    pub routing: RoutingBody,
    /// Make it the tenant's default group.
    #[serde(default)]
    pub is_default: bool,
}

impl Check for NewGroup {
    fn check(&self, checks: &mut Checks) {
        checks.name("/name", &self.name);
        self.routing.check(checks);
        check_rest(checks, Some(self.second_strategy), self.queue_max);
    }
}

fn check_rest(checks: &mut Checks, second: Option<Strategy>, queue_max: Option<u32>) {
    checks.that("/second_strategy", second != Some(Strategy::Sticky), "must not be sticky itself");
    checks.that("/queue_max", queue_max.is_none_or(|max| max <= QUEUE_CEILING), "must be at most 1000000");
}

pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Body(new): Body<NewGroup>,
) -> Result<Tagged<GroupView>, Problem> {
    let mut change = app.change(caller.by()).await?;
    let made = create_in(&mut change, new).await;
    let row = change.finish(made).await?;
    Ok(Tagged::created(format!("/v1/groups/{}", row.id.0), row.revision, GroupView::of(&row, &[])?))
}

async fn create_in(change: &mut Change, new: NewGroup) -> Result<GroupRow, Problem> {
    let row = GroupRow {
        tenant_id: Id(change.tenant()),
        id: Id(GroupId::from_uuid(Uuid::now_v7())),
        name: new.name,
        strategy: word(new.strategy),
        second_strategy: word(new.second_strategy),
        queue_max: new.queue_max.and_then(|max| i32::try_from(max).ok()),
        when_offline: word(new.when_offline),
        routing: stored(new.routing),
        revision: change.revision,
        created_at: At(change.now),
        updated_at: At(change.now),
        deleted_at: None,
    };
    let inserted = diesel::insert_into(groups::table).values(row.clone()).execute(change.connection()).await;
    inserted.map_err(name_taken)?;
    change.publish(&Record::Group(row.record(&[])?)).await?;
    change.audit("created", "group", row.id.0.uuid(), &[]).await?;
    if new.is_default {
        make_default(change, Some(row.id.0)).await?;
    }
    Ok(row)
}

fn name_taken(error: diesel::result::Error) -> Problem {
    taken(error, "/name", "another group has this name")
}

async fn make_default(change: &mut Change, group: Option<GroupId>) -> Result<(), Problem> {
    let (revision, now) = (change.revision, change.now);
    let row: crate::db::TenantRow = diesel::update(tenants::table.find(Id(change.tenant())))
        .set((
            tenants::default_group_id.eq(group.map(Id)),
            tenants::revision.eq(revision),
            tenants::updated_at.eq(At(now)),
        ))
        .returning(crate::db::TenantRow::as_returning())
        .get_result(change.connection())
        .await?;
    change.publish(&Record::Tenant(row.record()?)).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchGroup {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub strategy: Option<Strategy>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub second_strategy: Option<Strategy>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u32>)]
    pub queue_max: Option<Option<u32>>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub when_offline: Option<WhenOffline>,
    /// Replaces all of it.
    #[serde(default)]
    pub routing: Option<RoutingBody>,
}

impl Check for PatchGroup {
    fn check(&self, checks: &mut Checks) {
        if let Some(name) = &self.name {
            checks.name("/name", name);
        }
        if let Some(routing) = &self.routing {
            routing.check(checks);
        }
        check_rest(checks, self.second_strategy, self.queue_max.flatten());
    }
}

pub async fn patch(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<GroupId>,
    if_match: IfMatch,
    Body(patch): Body<PatchGroup>,
) -> Result<Tagged<GroupView>, Problem> {
    let mut change = app.change(caller.by()).await?;
    let done = patch_in(&mut change, id, &if_match, patch).await;
    let (row, view) = change.finish(done).await?;
    Ok(Tagged::ok(row.revision, view))
}

async fn patch_in(
    change: &mut Change,
    id: GroupId,
    if_match: &IfMatch,
    patch: PatchGroup,
) -> Result<(GroupRow, GroupView), Problem> {
    let mut row = find(change, id, false).await?;
    if_match.check(row.revision)?;
    let fields = named([
        ("name", patch.name.is_some()),
        ("strategy", patch.strategy.is_some()),
        ("second_strategy", patch.second_strategy.is_some()),
        ("queue_max", patch.queue_max.is_some()),
        ("when_offline", patch.when_offline.is_some()),
        ("routing", patch.routing.is_some()),
    ]);
    row.name = patch.name.unwrap_or(row.name);
    row.strategy = patch.strategy.map_or(row.strategy, word);
    row.second_strategy = patch.second_strategy.map_or(row.second_strategy, word);
    row.queue_max = patch.queue_max.map_or(row.queue_max, |max| max.and_then(|max| i32::try_from(max).ok()));
    row.when_offline = patch.when_offline.map_or(row.when_offline, word);
    row.routing = patch.routing.map_or(row.routing, stored);
    let view = save(change, &mut row, "changed", &fields).await?;
    Ok((row, view))
}

/// Deletes a group. Threads that wait in it stay, and an admin can restore it.
pub async fn delete(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<GroupId>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let mut change = app.change(caller.by()).await?;
    let done = delete_in(&mut change, id, &if_match).await;
    change.finish(done).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_in(change: &mut Change, id: GroupId, if_match: &IfMatch) -> Result<(), Problem> {
    let mut row = find(change, id, false).await?;
    if_match.check(row.revision)?;
    row.deleted_at = Some(At(change.now));
    save(change, &mut row, "deleted", &[]).await?;
    let tenant = change.tenant();
    let default = tenants::table.find(Id(tenant)).select(tenants::default_group_id);
    let default: Option<Id<GroupId>> = default.first(change.connection()).await?;
    if default == Some(Id(id)) {
        make_default(change, None).await?;
    }
    Ok(())
}

pub async fn restore(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<GroupId>,
) -> Result<Tagged<GroupView>, Problem> {
    let mut change = app.change(caller.by()).await?;
    let done = restore_in(&mut change, id).await;
    let (row, view) = change.finish(done).await?;
    Ok(Tagged::ok(row.revision, view))
}

async fn restore_in(change: &mut Change, id: GroupId) -> Result<(GroupRow, GroupView), Problem> {
    let mut row = find(change, id, true).await?;
    row.deleted_at = None;
    let view = save(change, &mut row, "restored", &[]).await?;
    Ok((row, view))
}

async fn find(change: &mut Change, id: GroupId, deleted: bool) -> Result<GroupRow, Problem> {
    let tenant = change.tenant();
    let found = groups::table
        .find((Id(tenant), Id(id)))
        .filter(groups::deleted_at.is_not_null().eq(deleted))
        .select(GroupRow::as_select())
        .first(change.connection())
        .await;
    found.optional()?.ok_or_else(Problem::not_found)
}

async fn save(
    change: &mut Change,
    row: &mut GroupRow,
    action: &str,
    fields: &[&str],
) -> Result<GroupView, Problem> {
    row.revision = change.revision;
    row.updated_at = At(change.now);
    let there = groups::table.find((row.tenant_id, row.id));
    diesel::update(there).set(&*row).execute(change.connection()).await.map_err(name_taken)?;
    let members = members_of(change.connection(), row.tenant_id.0, row.id.0).await?;
    change.publish(&Record::Group(row.record(&members)?)).await?;
    change.audit(action, "group", row.id.0.uuid(), fields).await?;
    GroupView::of(row, &members)
}
