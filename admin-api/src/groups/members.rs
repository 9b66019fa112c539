//! `PUT, DELETE /v1/groups/{id}/members/{agent_id}`.

use axum::extract::State;
use bus_schema::{AgentId, GroupId, config::MemberPriority};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use http::StatusCode;
use persister::db::{
    At, Id,
    schema::config::{agents, group_members},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::GroupView;
use crate::{
    access::Caller,
    app::App,
    audit_log::Audited,
    db::{Change, GroupRow, word},
    http::{Body, Check, Checks, Ids, IfMatch, Problem, Tagged},
    things,
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutMember {
    /// `first`, `normal`, `last` or `supervisor`.
    #[serde(default)]
    pub priority: MemberPriority,
}

impl Check for PutMember {
    fn check(&self, _: &mut Checks) {}
}

pub async fn put_member(
    State(app): State<App>,
    caller: Caller,
    Ids((group, agent)): Ids<(GroupId, AgentId)>,
    if_match: IfMatch,
    Body(body): Body<PutMember>,
) -> Result<Tagged<GroupView>, Problem> {
    let mut change = app.change(caller.by()).await?;
    let done = put_in(&mut change, group, agent, &if_match, body.priority).await;
    change.finish(done).await
}

async fn put_in(
    change: &mut Change,
    group: GroupId,
    agent: AgentId,
    if_match: &IfMatch,
    priority: MemberPriority,
) -> Result<Tagged<GroupView>, Problem> {
    let tenant = change.tenant();
    if_match.check(things::find::<GroupRow>(change, group).await?.revision)?;
    let there = agents::table.find((Id(tenant), Id(agent))).filter(agents::deleted_at.is_null());
    let there = there.select(agents::id).first::<Id<AgentId>>(change.connection()).await.optional()?;
    there.ok_or_else(Problem::not_found)?;
    let now = change.now;
    diesel::insert_into(group_members::table)
        .values((
            group_members::tenant_id.eq(Id(tenant)),
            group_members::group_id.eq(Id(group)),
            group_members::agent_id.eq(Id(agent)),
            group_members::priority.eq(word(priority)),
            group_members::created_at.eq(At(now)),
        ))
        .on_conflict((group_members::tenant_id, group_members::group_id, group_members::agent_id))
        .do_update()
        .set(group_members::priority.eq(word(priority)))
        .execute(change.connection())
        .await?;
    settle(change, group, agent, "member_set").await
}

/// Takes an agent out of a group; one that was not in it is no error.
pub async fn remove_member(
    State(app): State<App>,
    caller: Caller,
    Ids((group, agent)): Ids<(GroupId, AgentId)>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let mut change = app.change(caller.by()).await?;
    let done = remove_in(&mut change, group, agent, &if_match).await;
    change.finish(done).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove_in(
    change: &mut Change,
    group: GroupId,
    agent: AgentId,
    if_match: &IfMatch,
) -> Result<(), Problem> {
    if_match.check(things::find::<GroupRow>(change, group).await?.revision)?;
    let there = group_members::table.find((Id(change.tenant()), Id(group), Id(agent)));
    if diesel::delete(there).execute(change.connection()).await? > 0 {
        settle(change, group, agent, "member_removed").await?;
    }
    Ok(())
}

async fn settle(
    change: &mut Change,
    group: GroupId,
    agent: AgentId,
    action: &str,
) -> Result<Tagged<GroupView>, Problem> {
    change.touch_groups(&[group]).await?;
    change.audit(action, Audited::Group, group.uuid(), &[&agent.to_string()]).await?;
    let row: GroupRow = things::find(change, group).await?;
    things::shown(change, row).await
}
