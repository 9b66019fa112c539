//! Presence: edges report it as state with a growing `rev`; an old one is ignored, and nobody is told "done" before
//! what it changes is stored.

use std::collections::BTreeSet;

use bus_schema::{
    AgentId, Body, ErrorCode, IncarnationId,
    command::{Answer, Outcome, PresenceReport},
    event::{AgentConnected, AgentDisconnected},
    state::{AgentState, Presence},
};

use super::{
    super::{
        plan::{After, Plan, Step},
        settings::{AGENTS_PER_BATCH, CONNECTIONS_WRITTEN_WITHIN, REPORTS_MAX},
        shared::Shared,
        slot::Key,
        tenant::Tenant,
    },
    refused,
};

pub fn report(
    tenant: &mut Tenant,
    incarnation: IncarnationId,
    reports: &[PresenceReport],
    shared: &mut Shared,
) -> Step {
    if reports.len() > REPORTS_MAX {
        return Step::Reply(refused(ErrorCode::InvalidRequest, "too many agents in one report"));
    }
    shared.leases.heard(incarnation, shared.now);
    let mut plan = Plan::new(After::Again);
    let mut blocked = None;
    let mut unknown = false;
    let mut planned = BTreeSet::new();
    for report in reports {
        let key = Key::Agent(report.agent_id);
        if tenant.is_locked(key) {
            blocked = blocked.or(Some(key));
            continue;
        }
        let agent = tenant.agents.entry(report.agent_id).or_default();
        let known = agent.presence(incarnation);
        if agent.is_frozen() || known.is_some_and(|known| known.rev >= report.rev) {
            continue;
        }
        let presence = Presence { rev: report.rev, connections: report.connections };
        let connected = known.is_some_and(|known| known.connections > 0);
        if connected == (report.connections > 0) {
            if known.is_some() {
                agent.soften(incarnation, presence, shared.now.plus(CONNECTIONS_WRITTEN_WITHIN));
                tenant.index_agent(report.agent_id, shared);
            }
            continue;
        }
        let record = tenant.config.agent(report.agent_id);
        match agent.next(record, &shared.leases, shared.now) {
            None => unknown = true,
            Some(state) if plan.changes.len() < AGENTS_PER_BATCH && planned.insert(report.agent_id) => {
                plan.agent(None, change(state, incarnation, presence, shared));
            }
            Some(_) => {}
        }
    }
    match (plan.changes.is_empty(), blocked) {
        (false, _) => Step::Write(plan),
        (true, Some(key)) => Step::Blocked(key),
        (true, None) if unknown => {
            Step::Reply(refused(ErrorCode::Unavailable, "the configuration of an agent is not known yet"))
        }
        (true, None) => Step::Reply(Outcome::DONE),
    }
}

fn change(mut state: AgentState, edge: IncarnationId, presence: Presence, shared: &Shared) -> Body {
    let was_connected = state.is_connected();
    state.presence.insert(edge, presence);
    if state.is_connected() {
        state.left_at = state.offline_since.take().or(state.left_at);
        state.misses = 0;
        if presence.connections == 0 {
            state.left_at = Some(shared.now);
        }
        for held in &mut state.conversations {
            held.given_away = false;
        }
        return Body::AgentConnected(AgentConnected { state });
    }
    if was_connected {
        (state.offline_since, state.left_at) = (Some(shared.now), None);
    }
    Body::AgentDisconnected(AgentDisconnected { state })
}

/// Whose reports the edge should repeat: those that differ, and those it does not name any more.
pub fn digest(tenant: &Tenant, incarnation: IncarnationId, reports: &[PresenceReport]) -> Outcome {
    if reports.len() > REPORTS_MAX {
        return refused(ErrorCode::InvalidRequest, "too many agents in one digest");
    }
    let known = |agent: AgentId| tenant.agents.get(&agent).and_then(|agent| agent.presence(incarnation));
    let differs = |report: &&PresenceReport| {
        let known = known(report.agent_id);
        known != Some(Presence { rev: report.rev, connections: report.connections })
            && (known.is_some() || report.connections > 0)
    };
    let mut agents: BTreeSet<AgentId> =
        reports.iter().filter(differs).map(|report| report.agent_id).collect();
    let reported: BTreeSet<AgentId> = reports.iter().map(|report| report.agent_id).collect();
    let named = tenant.named.get(&incarnation).into_iter().flatten().copied();
    let online = named.filter(|agent| known(*agent).is_some_and(|presence| presence.connections > 0));
    agents.extend(online.filter(|agent| !reported.contains(agent)));
    Outcome::Accepted { answer: Answer::PresenceDiffers { agents: agents.into_iter().collect() } }
}
