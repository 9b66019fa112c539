//! `GET, PATCH /v1/auth/me` and `PUT /v1/auth/status`.

use axum::{Json, extract::State};
use bus_schema::{command::Command, config::Record, state::RoutingStatus};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use persister::db::{
    At, Id,
    schema::config::{agents, tenants},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{login::account_of, mfa};
use crate::{
    access::Caller,
    agents::{AgentView, check_profile},
    app::App,
    audit_log::Audited,
    db::{AgentRow, Change, TenantRow, named},
    http::{Body, Check, Checks, IfMatch, Problem, Tagged, present},
    tenant::TenantView,
};

#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// Whether logging in asks for a code as well.
    pub second_factor: bool,
    pub agent: AgentView,
    pub tenant: TenantView,
}

pub async fn me(State(app): State<App>, caller: Caller) -> Result<Tagged<Me>, Problem> {
    let mut connection = app.pool.get().await?;
    let (agent, tenant): (AgentRow, TenantRow) = agents::table
        .inner_join(tenants::table.on(tenants::tenant_id.eq(agents::tenant_id)))
        .filter(agents::tenant_id.eq(Id(caller.tenant)).and(agents::id.eq(Id(caller.agent))))
        .select((AgentRow::as_select(), TenantRow::as_select()))
        .first(&mut connection)
        .await?;
    let account = account_of(&mut connection, &agent).await?;
    let revision = agent.revision;
    let second_factor = mfa::is_on(&mut connection, account.id).await?;
    let agent = AgentView::load(&mut connection, agent, account.email).await?;
    Ok(Tagged::ok(revision, Me { second_factor, agent, tenant: TenantView::of(&tenant)? }))
}

/// What people may change about themselves.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchMe {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub avatar_url: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub job_title: Option<Option<String>>,
}

impl Check for PatchMe {
    fn check(&self, checks: &mut Checks) {
        if let Some(name) = &self.name {
            checks.name("/name", name);
        }
        check_profile(
            checks,
            self.avatar_url.iter().flatten().next(),
            self.job_title.iter().flatten().next(),
        );
    }
}

pub async fn patch_me(
    State(app): State<App>,
    caller: Caller,
    if_match: IfMatch,
    Body(patch): Body<PatchMe>,
) -> Result<Tagged<AgentView>, Problem> {
    let mut change = app.change(caller.by()).await?;
    let done = patch_in(&mut change, &caller, &if_match, patch).await;
    let (row, view) = change.finish(done).await?;
    Ok(Tagged::ok(row.revision, view))
}

async fn patch_in(
    change: &mut Change,
    caller: &Caller,
    if_match: &IfMatch,
    patch: PatchMe,
) -> Result<(AgentRow, AgentView), Problem> {
    let mut row: AgentRow = agents::table
        .find((Id(caller.tenant), Id(caller.agent)))
        .select(AgentRow::as_select())
        .first(change.connection())
        .await?;
    if_match.check(row.revision)?;
    let fields = named([
        ("name", patch.name.is_some()),
        ("avatar_url", patch.avatar_url.is_some()),
        ("job_title", patch.job_title.is_some()),
    ]);
    row.name = patch.name.unwrap_or(row.name);
    row.avatar_url = patch.avatar_url.unwrap_or(row.avatar_url);
    row.job_title = patch.job_title.unwrap_or(row.job_title);
    row.revision = change.revision;
    row.updated_at = At(change.now);
    let there = agents::table.find((row.tenant_id, row.id));
    diesel::update(there).set(&row).execute(change.connection()).await?;
    change.publish(&Record::Agent(row.record()?)).await?;
    change.audit("changed", Audited::Agent, row.id.0.uuid(), &fields).await?;
    let account = account_of(change.connection(), &row).await?;
    let view = AgentView::load(change.connection(), row.clone(), account.email).await?;
    Ok((row, view))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutStatus {
    /// `accepting` or `not_accepting`.
    pub status: RoutingStatus,
}

impl Check for PutStatus {
    fn check(&self, _: &mut Checks) {}
}

#[derive(Debug, Serialize, ToSchema)]
pub struct StatusView {
    pub status: RoutingStatus,
}

/// Sets the caller's status, by command to the router.
pub async fn put_status(
    State(app): State<App>,
    caller: Caller,
    Body(body): Body<PutStatus>,
) -> Result<Json<StatusView>, Problem> {
    let command = Command::SetStatus { agent_id: caller.agent, status: body.status };
    app.command(&caller, command).await?;
    Ok(Json(StatusView { status: body.status }))
}
