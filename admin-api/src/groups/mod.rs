//! Groups: what routing targets, and who is in them.

mod members;
mod write;

pub use members::{PutMember, put_member, remove_member};
pub use write::{NewGroup, PatchGroup, create, patch};

use std::collections::BTreeMap;

use bus_schema::{
    AgentId, GroupId, TenantId,
    config::{MemberPriority, Record, RoutingSettings, WhenOffline},
    state::Strategy,
};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{
    At, Id,
    schema::config::{groups, tenants},
};
use serde::Serialize;
use utoipa::ToSchema;

use self::write::make_default;
use crate::{
    db::{Change, GroupRow, MemberRow, Times, members_of, unknown},
    http::Problem,
    routing::RoutingBody,
    things::{Thing, thing},
};

#[derive(Debug, Serialize, ToSchema)]
pub struct GroupView {
    #[schema(value_type = uuid::Uuid)]
    pub id: GroupId,
    pub name: String,
    /// How an agent is picked: `round_robin`, `least_loaded`, `sticky`, `manual` or `broadcast`.
    pub strategy: Strategy,
    /// Where a sticky visitor's agent is away.
    pub second_strategy: Strategy,
    /// Threads that may wait; null: no bound.
    pub queue_max: Option<u32>,
    /// `keep` or `close`: what happens to a start while nobody is there.
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
}

impl Thing for GroupRow {
    type View = GroupView;

    thing!(GroupRow, groups, GroupId, Group, "/v1/groups", "/name", "another group has this name");

    async fn views(
        connection: &mut AsyncPgConnection,
        tenant: TenantId,
        rows: Vec<Self>,
    ) -> Result<Vec<GroupView>, Problem> {
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let mut members: BTreeMap<Id<GroupId>, Vec<MemberRow>> = BTreeMap::new();
        for member in members_of(connection, tenant, &ids).await? {
            members.entry(member.group_id).or_default().push(member);
        }
        rows.iter().map(|row| GroupView::of(row, members.get(&row.id).map_or(&[], Vec::as_slice))).collect()
    }

    async fn publish(&self, change: &mut Change) -> Result<(), Problem> {
        let tenant = change.tenant();
        let members = members_of(change.connection(), tenant, &[self.id]).await?;
        change.publish(&Record::Group(self.record(&members)?)).await
    }

    /// Threads that wait in a deleted group stay; nobody comes to it by default any more.
    async fn came_or_went(&self, change: &mut Change) -> Result<(), Problem> {
        let default = tenants::table.find(Id(change.tenant())).select(tenants::default_group_id);
        let default: Option<Id<GroupId>> = default.first(change.connection()).await?;
        if self.deleted_at.is_some() && default == Some(self.id) {
            make_default(change, None).await?;
        }
        Ok(())
    }
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
