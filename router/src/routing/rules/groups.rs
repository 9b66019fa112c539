//! Whether a group would find somebody for a start.

use bus_schema::{
    GroupId, Timestamp,
    command::{Answer, Outcome},
    config::MemberPriority,
    protocol::GroupStatus,
    state::AgentState,
};

use super::{super::tenant::Tenant, decide};

pub fn list(tenant: &Tenant, now: Timestamp) -> Outcome {
    let groups = tenant.config.groups().map(|id| (id, status_of_group(tenant, id, now))).collect();
    Outcome::Accepted { answer: Answer::Groups { groups } }
}

pub fn status_of_group(tenant: &Tenant, id: GroupId, now: Timestamp) -> GroupStatus {
    let mut status = GroupStatus::Offline;
    if !tenant.config.is_open(Some(id), now) {
        return status;
    }
    for (agent, priority) in decide::members(tenant, Some(id)) {
        let Some(agent) = tenant.agents.get(&agent) else { continue };
        let room = agent.state().is_some_and(|state| tenant.config.has_room(Some(id), state));
        if room && agent.is_free(None) && priority != MemberPriority::Supervisor {
            return GroupStatus::Online;
        }
        if agent.state().is_some_and(AgentState::is_connected) {
            status = GroupStatus::Queue;
        }
    }
    status
}
