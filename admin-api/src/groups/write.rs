//! Making and changing groups.

use axum::extract::State;
use bus_schema::{GroupId, config::Record, config::WhenOffline, object, state::Strategy};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use persister::db::{At, Id, schema::config::tenants};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::GroupView;
use crate::{
    access::Caller,
    app::App,
    db::{Change, GroupRow, TenantRow, named, word},
    http::{Body, Check, Checks, IfMatch, PathId, Problem, Tagged, present},
    routing::{RoutingBody, stored},
    things,
};

const QUEUE_CEILING: u32 = 1_000_000;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGroup {
    pub name: String,
    #[serde(default)]
    pub strategy: Strategy,
    #[serde(default)]
    pub second_strategy: Strategy,
    #[serde(default)]
    pub queue_max: Option<u32>,
    #[serde(default)]
    pub when_offline: WhenOffline,
    #[serde(default, deserialize_with = "object::one")]
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
    change.finish(made).await
}

async fn create_in(change: &mut Change, new: NewGroup) -> Result<Tagged<GroupView>, Problem> {
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
    things::make(change, &row).await?;
    if new.is_default {
        make_default(change, Some(row.id.0)).await?;
    }
    things::shown_new(change, row).await
}

pub(super) async fn make_default(change: &mut Change, group: Option<GroupId>) -> Result<(), Problem> {
    let (revision, now) = (change.revision, change.now);
    let row: TenantRow = diesel::update(tenants::table.find(Id(change.tenant())))
        .set((
            tenants::default_group_id.eq(group.map(Id)),
            tenants::revision.eq(revision),
            tenants::updated_at.eq(At(now)),
        ))
        .returning(TenantRow::as_returning())
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
    pub strategy: Option<Strategy>,
    #[serde(default)]
    pub second_strategy: Option<Strategy>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u32>)]
    pub queue_max: Option<Option<u32>>,
    #[serde(default)]
    pub when_offline: Option<WhenOffline>,
    /// Replaces all of it.
    #[serde(default, deserialize_with = "object::or_null")]
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
    change.finish(done).await
}

async fn patch_in(
    change: &mut Change,
    id: GroupId,
    if_match: &IfMatch,
    patch: PatchGroup,
) -> Result<Tagged<GroupView>, Problem> {
    let mut row: GroupRow = things::find(change, id).await?;
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
    things::save(change, &mut row, "changed", &fields).await?;
    things::shown(change, row).await
}
