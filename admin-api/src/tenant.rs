//! `GET, PATCH /v1/tenant`.

use std::ops::RangeInclusive;

use axum::extract::State;
use bus_schema::{
    GroupId, TenantId,
    config::{Record, RoutingSettings},
    object,
};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use persister::db::{At, Id, schema::config::tenants};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    access::Caller,
    app::App,
    audit_log::Audited,
    db::{Change, TenantRow, Times, named},
    groups::must_exist,
    http::{Body, Check, Checks, IfMatch, Problem, Tagged, present},
    routing::{RoutingBody, meant, stored},
};

#[derive(Debug, Serialize, ToSchema)]
pub struct TenantView {
    #[schema(value_type = uuid::Uuid)]
    pub id: TenantId,
    pub name: String,
    /// Where a conversation goes whose widget names no group.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub default_group_id: Option<GroupId>,
    /// Pages from which staff may work.
    pub console_origins: Vec<String>,
    /// Assigning another agent closes the thread and opens the next.
    pub thread_per_assignment: bool,
    /// For all groups that say nothing else.
    #[schema(value_type = RoutingBody)]
    pub routing: RoutingSettings,
    pub retention: Retention,
    #[serde(flatten)]
    pub times: Times,
}

impl TenantView {
    pub fn of(row: &TenantRow) -> Result<Self, Problem> {
        Ok(Self {
            id: row.tenant_id.0,
            name: row.name.clone(),
            default_group_id: row.default_group_id.map(|id| id.0),
            console_origins: row.console_origins.clone(),
            thread_per_assignment: row.thread_per_assignment,
            routing: meant(&row.routing)?,
            retention: Retention {
                forget_after_days: row.forget_after_days.and_then(|days| u32::try_from(days).ok()),
            },
            times: Times::of(row.created_at, row.updated_at, row.deleted_at),
        })
    }
}

/// How long visitors are known.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// A visitor of whom nothing was written for so many days, 1 to 3650, is forgotten: as by
    /// `DELETE /v1/visitors/{id}`, and not while a thread is open. Null: never.
    #[serde(default)]
    pub forget_after_days: Option<u32>,
}

impl Retention {
    const DAYS: RangeInclusive<u32> = 1..=3_650;

    fn check(self, checks: &mut Checks) {
        let right = self.forget_after_days.is_none_or(|days| Self::DAYS.contains(&days));
        checks.that("/retention/forget_after_days", right, "must be 1 to 3650 days, or null: never");
    }
}

pub async fn get(State(app): State<App>, caller: Caller) -> Result<Tagged<TenantView>, Problem> {
    let row: TenantRow = tenants::table
        .find(Id(caller.tenant))
        .select(TenantRow::as_select())
        .first(&mut app.within(caller.tenant).await?)
        .await?;
    Ok(Tagged::ok(row.revision, TenantView::of(&row)?))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchTenant {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub default_group_id: Option<Option<GroupId>>,
    #[serde(default)]
    pub console_origins: Option<Vec<String>>,
    #[serde(default)]
    pub thread_per_assignment: Option<bool>,
    /// Replaces all of it.
    #[serde(default, deserialize_with = "object::or_null")]
    pub routing: Option<RoutingBody>,
    /// Replaces all of it.
    #[serde(default, deserialize_with = "object::or_null")]
    pub retention: Option<Retention>,
}

impl Check for PatchTenant {
    fn check(&self, checks: &mut Checks) {
        if let Some(name) = &self.name {
            checks.name("/name", name);
        }
        if let Some(origins) = &self.console_origins {
            checks.origins("/console_origins", origins, &["null"]);
        }
        if let Some(routing) = &self.routing {
            routing.check(checks);
        }
        if let Some(retention) = self.retention {
            retention.check(checks);
        }
    }
}

pub async fn patch(
    State(app): State<App>,
    caller: Caller,
    if_match: IfMatch,
    Body(patch): Body<PatchTenant>,
) -> Result<Tagged<TenantView>, Problem> {
    let origins_changed = patch.console_origins.is_some();
    let retention_changed = patch.retention.is_some();
    if retention_changed {
        // What is forgotten does not come back.
        caller.must_be_a_person()?;
    }
    let mut change = app.change(caller.by()).await?;
    let done = patch_in(&mut change, &if_match, patch).await;
    let row = change.finish(done).await?;
    if origins_changed {
        app.origins.refresh(&app.pool).await?;
    }
    if retention_changed {
        app.lapse.notify_one();
    }
    Ok(Tagged::ok(row.revision, TenantView::of(&row)?))
}

async fn patch_in(change: &mut Change, if_match: &IfMatch, patch: PatchTenant) -> Result<TenantRow, Problem> {
    let there = tenants::table.find(Id(change.tenant()));
    let mut row: TenantRow = there.select(TenantRow::as_select()).first(change.connection()).await?;
    if_match.check(row.revision)?;
    if let Some(Some(group)) = patch.default_group_id {
        must_exist(change, &[group], |_| "/default_group_id".to_owned()).await?;
    }
    let fields = named([
        ("name", patch.name.is_some()),
        ("default_group_id", patch.default_group_id.is_some()),
        ("console_origins", patch.console_origins.is_some()),
        ("thread_per_assignment", patch.thread_per_assignment.is_some()),
        ("routing", patch.routing.is_some()),
        ("retention", patch.retention.is_some()),
    ]);
    row.name = patch.name.unwrap_or(row.name);
    row.default_group_id = patch.default_group_id.map_or(row.default_group_id, |id| id.map(Id));
    row.console_origins = patch.console_origins.unwrap_or(row.console_origins);
    row.thread_per_assignment = patch.thread_per_assignment.unwrap_or(row.thread_per_assignment);
    row.routing = patch.routing.map_or(row.routing, stored);
    if let Some(Retention { forget_after_days }) = patch.retention {
        row.forget_after_days = forget_after_days.and_then(|days| i32::try_from(days).ok());
        // It counts at once.
        let due = tenants::lapses_due_at.eq(At(change.now));
        diesel::update(there).set(due).execute(change.connection()).await?;
    }
    row.revision = change.revision;
    row.updated_at = At(change.now);
    diesel::update(there).set(&row).execute(change.connection()).await?;
    change.publish(&Record::Tenant(row.record()?)).await?;
    change.audit("changed", Audited::Tenant, row.tenant_id.0.uuid(), &fields).await?;
    Ok(row)
}
