//! An agent's own choice: to be given chats or not.

use bus_schema::{
    AgentId, Body, ErrorCode,
    command::{CommandRequest, Outcome},
    event::AgentStatusSet,
    state::RoutingStatus,
};

use super::{
    super::{
        agent::Agent,
        plan::{After, Plan, Step},
        shared::Shared,
        slot::Key,
        tenant::Tenant,
    },
    refused, thread,
};

pub fn set(
    tenant: &Tenant,
    request: &CommandRequest,
    id: AgentId,
    status: RoutingStatus,
    shared: &Shared,
) -> Step {
    if thread::as_agent(&request.actor) != Some(id) && !thread::is_supervisor(&request.actor) {
        return Step::Reply(refused(ErrorCode::Forbidden, "only supervisors set the status of others"));
    }
    if tenant.is_locked(Key::Agent(id)) {
        return Step::Blocked(Key::Agent(id));
    }
    let fresh = Agent::default();
    let agent = tenant.agents.get(&id).unwrap_or(&fresh);
    if agent.is_frozen() {
        return Step::Reply(refused(ErrorCode::Internal, "the state of this agent cannot be read"));
    }
    let Some(mut state) = agent.next(tenant.config.agent(id), &shared.leases, shared.now) else {
        return Step::Reply(refused(ErrorCode::NotFound, "no such agent"));
    };
    if let Some(outcome) = thread::find(&state.commands, request) {
        return Step::Reply(outcome);
    }
    if state.deleted {
        return Step::Reply(refused(ErrorCode::AgentUnavailable, "the agent was removed"));
    }
    if state.status == status {
        return Step::Reply(Outcome::DONE);
    }
    (state.status, state.misses) = (status, 0);
    thread::remember(&mut state.commands, request, Outcome::DONE);
    let mut plan = Plan::new(After::Reply(Outcome::DONE));
    plan.agent(Some(request.command_id.uuid()), Body::AgentStatusSet(AgentStatusSet { state }));
    Step::Write(plan)
}
