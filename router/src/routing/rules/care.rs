//! What an agent's state needs without anybody asking: configuration, dead edges, and conversations that are lost.

use std::collections::BTreeSet;

use bus_schema::{
    AgentId, Author, Body, IncarnationId, Timestamp,
    event::{
        AgentCapacitySet, AgentConnected, AgentDisconnected, AgentLoad, AgentLost, AgentLostReason,
        AgentStatusSet,
    },
    state::{AgentState, DecisionRule, Held, QueueReason, RoutingStatus, ThreadStatus},
};

use super::{
    super::{
        agent::Agent,
        plan::{After, Plan, Step},
        settings::CONVERSATIONS_PER_BATCH,
        shared::Shared,
        slot::Key,
        tenant::Tenant,
        timers,
    },
    decide::Why,
};

/// The first thing that is due; whoever asks comes again after it.
pub fn care(tenant: &Tenant, id: AgentId, shared: &mut Shared) -> Step {
    let Some(agent) = tenant.agents.get(&id) else { return Step::Nothing };
    let Some(state) = agent.state().filter(|_| agent.lock.is_free() && !agent.is_frozen()) else {
        return Step::Nothing;
    };
    let record = tenant.config.agent(id);
    let Some(next) = agent.next(record, &shared.leases, shared.now) else { return Step::Nothing };
    if let Some(record) = record.filter(|record| record.deleted != state.deleted) {
        return alone(deleted(next, record.deleted));
    }
    if let Some(record) = record.filter(|record| record.capacity != state.capacity) {
        let state = AgentState { capacity: record.capacity, ..next };
        return alone(Body::AgentCapacitySet(AgentCapacitySet { state }));
    }
    let dead = |incarnation: &IncarnationId| shared.leases.is_dead(*incarnation, shared.now);
    if state.presence.iter().any(|(edge, presence)| presence.connections > 0 && dead(edge)) {
        let mut next = next;
        next.presence.retain(|edge, _| !dead(edge));
        return alone(after_dead_edge(next, shared));
    }
    if let Some(reason) = lost(agent, state, shared) {
        let step = release(tenant, id, next, reason, shared.now);
        if let Step::Write(plan) = &step {
            shared.counters.reassigned += plan.changes.len() as u64 / 2;
        }
        return step;
    }
    if agent.soft_due().is_some_and(|due| due <= shared.now) {
        return alone(Body::AgentConnected(AgentConnected { state: next }));
    }
    Step::Nothing
}

fn alone(body: Body) -> Step {
    let mut plan = Plan::new(After::Again);
    plan.agent(None, body);
    Step::Write(plan)
}

fn deleted(mut state: AgentState, deleted: bool) -> Body {
    state.deleted = deleted;
    if deleted {
        state.status = RoutingStatus::NotAccepting;
    }
    Body::AgentStatusSet(AgentStatusSet { state })
}

/// The grace time has passed with the edge: nobody waits for the agent a second time, unless another edge had a
/// connection of the agent meanwhile. Then they have the grace time from the end of that one.
fn after_dead_edge(mut state: AgentState, shared: &Shared) -> Body {
    if state.is_connected() {
        return Body::AgentConnected(AgentConnected { state });
    }
    let grace = i64::try_from(shared.settings.agent_grace.as_millis()).unwrap_or(i64::MAX);
    let with_the_edge = Timestamp::from_millis(shared.now.millis().saturating_sub(grace));
    state.offline_since = state.left_at.take().max(Some(with_the_edge));
    Body::AgentDisconnected(AgentDisconnected { state })
}

fn lost(agent: &Agent, state: &AgentState, shared: &Shared) -> Option<AgentLostReason> {
    if state.deleted && !state.conversations.is_empty() {
        return Some(AgentLostReason::Deleted);
    }
    agent
        .lost_at(shared.settings.agent_grace)
        .filter(|at| *at <= shared.now)
        .map(|_| AgentLostReason::Disconnected)
}

/// Takes conversations from an agent and puts them where they waited: before all who came later.
fn release(
    tenant: &Tenant,
    id: AgentId,
    mut state: AgentState,
    reason: AgentLostReason,
    now: Timestamp,
) -> Step {
    let stays = |held: &Held| held.given_away && reason == AgentLostReason::Disconnected;
    let movable = |held: &&Held| !stays(held) && !tenant.is_locked(Key::Conversation(held.conversation_id));
    let moved: Vec<Held> =
        state.conversations.iter().filter(movable).take(CONVERSATIONS_PER_BATCH).cloned().collect();
    if moved.is_empty() {
        return Step::Nothing;
    }
    let gone: BTreeSet<_> = moved.iter().map(|held| held.conversation_id).collect();
    state.conversations.retain(|held| !gone.contains(&held.conversation_id));
    let mut plan = Plan::new(After::Again);
    plan.agent(None, Body::AgentLoad(AgentLoad { state }));
    for held in moved {
        let Some(conversation) = tenant.conversations.get(&held.conversation_id) else { continue };
        let theirs = |life: &&bus_schema::state::LifeState| {
            life.assignee_id == Some(id) && life.thread_id == held.thread_id && !conversation.is_frozen()
        };
        let Some(life) = conversation.life().filter(theirs) else { continue };
        let mut next = life.clone();
        (next.status, next.assignee_id) = (ThreadStatus::Queued, None);
        next.participants.retain(|participant| *participant != id);
        let mut desk = conversation.next_desk(life);
        desk.queue = Some(conversation.queue_entry(life, QueueReason::AgentLost));
        timers::waits(&mut desk, &tenant.config.rules(tenant.config.queue_of(life.group_id)), now);
        let lost = AgentLost { agent_id: id, reason, state: next };
        plan.life(held.conversation_id, Author::SYSTEM, None, Body::AgentLost(lost));
        let why = Why {
            strategy: None,
            rule: DecisionRule::AgentLost,
            candidates: super::decide::named(tenant, id),
            author: Author::SYSTEM,
            cause: None,
        };
        let decision = why.decision(tenant, None, Some(life.started_at));
        plan.decided(held.conversation_id, Author::SYSTEM, None, decision, desk);
    }
    Step::Write(plan)
}
