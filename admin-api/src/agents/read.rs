//! What clients see of agents, and what comes and goes with one.

use std::collections::{BTreeMap, BTreeSet};

use bus_schema::{AccountId, AgentId, GroupId, TenantId, Timestamp, claims::Role, config::Record};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{
    At, Id,
    schema::config::{accounts, agents, group_members, groups},
};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{groups_of, keep_an_admin};
use crate::{
    auth::{Ended, end_sessions_of},
    db::{AgentRow, Change, Times, meaning},
    http::Problem,
    things::{Thing, thing},
};

/// The names of those of these ids who work, or worked, in the tenant.
pub async fn names(
    connection: &mut AsyncPgConnection,
    tenant: TenantId,
    ids: impl Iterator<Item = Uuid>,
) -> Result<BTreeMap<Uuid, String>, Problem> {
    let ids: BTreeSet<Id<AgentId>> = ids.map(|id| Id(AgentId::from_uuid(id))).collect();
    let names: Vec<(Uuid, String)> = agents::table
        .filter(agents::tenant_id.eq(Id(tenant)).and(agents::id.eq_any(ids)))
        .select((agents::id, agents::name))
        .load(connection)
        .await?;
    Ok(names.into_iter().collect())
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AgentView {
    #[schema(value_type = uuid::Uuid)]
    pub id: AgentId,
    #[schema(value_type = uuid::Uuid)]
    pub account_id: AccountId,
    pub email: String,
    pub name: String,
    /// `agent`, `supervisor` or `admin`.
    pub role: Role,
    /// Conversations the agent may hold at once.
    pub capacity: i32,
    pub skills: Vec<String>,
    pub avatar_url: Option<String>,
    pub job_title: Option<String>,
    #[schema(value_type = Vec<uuid::Uuid>)]
    pub group_ids: Vec<GroupId>,
    /// Since when an invitation waits to be accepted; null once it was.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub invited_at: Option<Timestamp>,
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
            invited_at: row.invited_at.map(|at| at.0),
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

impl Thing for AgentRow {
    type View = AgentView;

    thing!(AgentRow, agents, AgentId, Agent, "/v1/agents", "/email", "works in this tenant already");

    async fn views(
        connection: &mut AsyncPgConnection,
        tenant: TenantId,
        rows: Vec<Self>,
    ) -> Result<Vec<AgentView>, Problem> {
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let groups = group_ids(connection, &ids, Id(tenant)).await?;
        let people: Vec<_> = rows.iter().map(|row| row.account_id).collect();
        let emails: Vec<(Id<AccountId>, String)> = accounts::table
            .filter(accounts::id.eq_any(people))
            .select((accounts::id, accounts::email))
            .load(connection)
            .await?;
        let emails: BTreeMap<Id<AccountId>, String> = emails.into_iter().collect();
        rows.into_iter()
            .map(|row| {
                let email = emails.get(&row.account_id).cloned().ok_or_else(Problem::not_found)?;
                AgentView::of(row, email, &groups)
            })
            .collect()
    }

    async fn publish(&self, change: &mut Change) -> Result<(), Problem> {
        change.publish(&Record::Agent(self.record()?)).await
    }

    async fn may_go(&self, change: &mut Change) -> Result<(), Problem> {
        match meaning(&self.role)? {
            Role::Admin => keep_an_admin(change, self.id.0).await,
            Role::Agent | Role::Supervisor => Ok(()),
        }
    }

    /// Sessions end, groups lose or regain a member; the router moves what a deleted agent holds.
    async fn came_or_went(&self, change: &mut Change) -> Result<(), Problem> {
        if self.deleted_at.is_some() {
            end_sessions_of(change, self.id.0, Ended::AgentDeleted).await?;
        }
        let groups = groups_of(change, self.id.0).await?;
        change.touch_groups(&groups).await
    }
}
