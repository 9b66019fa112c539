//! Which conversations a person may see: agents those of their groups and their own, others all of the tenant.
//!
//! Invariant: what is out of scope is answered exactly like what does not exist.

use bus_schema::{
    AgentId, ConversationId, GroupId, claims::Role, state::LifeState, subject::ConversationSubjects,
};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use ops::{
    chat::{self, Life},
    log::Log,
};
use persister::db::{
    Id,
    schema::config::{group_members, groups},
};

use crate::{access::Caller, app::App, http::Problem};

#[derive(Debug, Clone)]
pub enum Scope {
    Tenant,
    Agent { me: AgentId, groups: Vec<GroupId> },
}

impl Scope {
    pub async fn of(connection: &mut AsyncPgConnection, caller: &Caller) -> Result<Self, Problem> {
        if caller.role > Role::Agent {
            return Ok(Scope::Tenant);
        }
        let same = groups::tenant_id.eq(group_members::tenant_id).and(groups::id.eq(group_members::group_id));
        let mine: Vec<Id<GroupId>> = group_members::table
            .inner_join(groups::table.on(same))
            .filter(group_members::tenant_id.eq(Id(caller.tenant)))
            .filter(group_members::agent_id.eq(Id(caller.agent)).and(groups::deleted_at.is_null()))
            .select(group_members::group_id)
            .load(connection)
            .await?;
        Ok(Scope::Agent { me: caller.agent, groups: mine.into_iter().map(|id| id.0).collect() })
    }

    pub fn sees(&self, group: Option<GroupId>, assignee: Option<AgentId>, participants: &[AgentId]) -> bool {
        match self {
            Scope::Tenant => true,
            Scope::Agent { me, groups } => {
                assignee == Some(*me)
                    || participants.contains(me)
                    || group.is_some_and(|id| groups.contains(&id))
            }
        }
    }

    pub fn sees_state(&self, state: &LifeState) -> bool {
        self.sees(state.group_id, state.assignee_id, &state.participants)
    }
}

/// A conversation as the log has it now, for acting on it.
pub struct Current {
    pub log: Log,
    pub home: ConversationSubjects,
    pub life: Life,
}

impl Current {
    /// From the log's leader, because the read model may not have it yet; `not_found` if out of scope.
    pub async fn read(app: &App, caller: &Caller, conversation: ConversationId) -> Result<Self, Problem> {
        let log = app.bus.log(caller.shard)?;
        let home = ConversationSubjects { shard: caller.shard, tenant: caller.tenant, conversation };
        let life = chat::life(&log, home).await?.ok_or_else(Problem::not_found)?;
        let scope = Scope::of(&mut *app.within(caller.tenant).await?, caller).await?;
        if !scope.sees_state(&life.state) {
            return Err(Problem::not_found());
        }
        Ok(Self { log, home, life })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn agents_see_their_groups_and_their_own() {
        let agent = |n| AgentId::from_uuid(Uuid::from_u128(n));
        let group = |n| GroupId::from_uuid(Uuid::from_u128(n));
        let scope = Scope::Agent { me: agent(1), groups: vec![group(7)] };
        assert!(scope.sees(None, Some(agent(1)), &[]));
        assert!(scope.sees(None, None, &[agent(2), agent(1)]));
        assert!(scope.sees(Some(group(7)), Some(agent(2)), &[]));
        assert!(!scope.sees(Some(group(8)), Some(agent(2)), &[agent(3)]));
        assert!(!scope.sees(None, None, &[]));
        assert!(Scope::Tenant.sees(None, None, &[]));
    }
}
