//! Agents: accounts in a tenant, with a role.

mod online;
mod read;
mod write;

pub use online::{OnlineAgent, online, put_status};
pub use read::{AgentView, names};
pub use write::{NewAgent, PatchAgent, create, patch};

use bus_schema::{AgentId, ErrorCode, claims::Role};
use diesel::{dsl::count_star, prelude::*};
use diesel_async::RunQueryDsl;
use persister::db::{
    Id,
    schema::config::{agents, group_members},
};

use crate::{
    db::{Change, word},
    http::{Checks, Problem},
};

const JOB_TITLE_CHARS_MAX: usize = 100;

/// What an agent may hold at once unless told otherwise.
pub const fn default_capacity(role: Role) -> i32 {
    match role {
        Role::Admin => 10,
        Role::Agent | Role::Supervisor => 5,
    }
}

/// What an agent shows to visitors.
pub fn check_profile(checks: &mut Checks, avatar_url: Option<&String>, job_title: Option<&String>) {
    if let Some(url) = avatar_url {
        checks.url("/avatar_url", url);
    }
    if let Some(title) = job_title {
        checks.text("/job_title", title, 1..=JOB_TITLE_CHARS_MAX);
    }
}

fn check_routing(checks: &mut Checks, capacity: Option<u32>, skills: Option<&[String]>) {
    let fits = capacity.is_none_or(|capacity| capacity <= bus_schema::limits::CAPACITY_MAX);
    checks.that("/capacity", fits, "must be from 0 to 100");
    if let Some(skills) = skills {
        checks.skills("/skills", skills);
    }
}

/// A tenant without an admin could never be changed again; who is invited is none yet.
async fn keep_an_admin(change: &mut Change, leaving: AgentId) -> Result<(), Problem> {
    let others: i64 = agents::table
        .filter(agents::tenant_id.eq(Id(change.tenant())).and(agents::deleted_at.is_null()))
        .filter(agents::role.eq(word(Role::Admin)).and(agents::id.ne(Id(leaving))))
        .filter(agents::invited_at.is_null())
        .select(count_star())
        .first(change.connection())
        .await?;
    if others > 0 {
        return Ok(());
    }
    Err(Problem::new(ErrorCode::Conflict, "the last admin stays: make somebody else admin first"))
}

/// The groups an agent is in, deleted ones too.
async fn groups_of(change: &mut Change, agent: AgentId) -> Result<Vec<bus_schema::GroupId>, Problem> {
    let ids: Vec<Id<bus_schema::GroupId>> = group_members::table
        .filter(group_members::tenant_id.eq(Id(change.tenant())).and(group_members::agent_id.eq(Id(agent))))
        .select(group_members::group_id)
        .load(change.connection())
        .await?;
    Ok(ids.into_iter().map(|id| id.0).collect())
}
