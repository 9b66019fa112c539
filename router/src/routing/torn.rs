//! Who has a thread is said twice: by the thread, and by the agent. Both change in one batch, but are read one after the
//! other, so a decision that takes a thread from an agent may see one side of such a change alone. So it is with a
//! thread and its routing state.
//!
//! Invariant: a plan that changes one side alone is written only if the other was read after it.

use bus_schema::{
    AgentId, ConversationId,
    state::{AgentState, LifeState},
};

use super::{
    plan::{Change, Plan},
    slot::Target,
    tenant::Tenant,
};

/// What has to be read again before this is written, and up to where it has to be known.
pub fn torn(tenant: &Tenant, plan: &Plan) -> Option<(Target, u64)> {
    plan.changes.iter().find_map(|change| match change.target {
        Target::Agent(id) => of_agent(tenant, plan, id, change),
        Target::Life(id) => of_thread(tenant, id, change.body.life_state()?),
        Target::Desk(id) => of_routing(tenant, plan, id),
    })
}

/// The routing state alone is written over that of a thread which is not known to be open: the log has no word against
/// it, for the thread's own message is not expected.
fn of_routing(tenant: &Tenant, plan: &Plan, id: ConversationId) -> Option<(Target, u64)> {
    let conversation = tenant.conversations.get(&id)?;
    let together = plan.changes.iter().any(|other| other.target == Target::Life(id));
    let behind = conversation.life_seq.max(conversation.as_of) < conversation.desk_seq;
    let torn = !together && behind && conversation.is_desk_of_another();
    torn.then_some((Target::Life(id), conversation.desk_seq))
}

/// The agent gives up a thread that, as far as is known, is not theirs.
fn of_agent(tenant: &Tenant, plan: &Plan, id: AgentId, change: &Change) -> Option<(Target, u64)> {
    let agent = tenant.agents.get(&id)?;
    let after = change.body.agent_state()?;
    let gone = agent.state()?.conversations.iter().filter(|held| !after.holds(held.conversation_id));
    let mut gone = gone.map(|held| held.conversation_id);
    gone.find_map(|lost| {
        let together = plan.changes.iter().any(|other| other.target == Target::Life(lost));
        let known = tenant.conversations.get(&lost);
        let behind =
            known.map_or(0, |conversation| conversation.life_seq.max(conversation.as_of)) < agent.seq;
        let free = known.is_none_or(|conversation| conversation.lock.is_free());
        (!together && behind && free).then_some((Target::Life(lost), agent.seq))
    })
}

/// The thread leaves an agent who, as far as is known, does not hold it.
fn of_thread(tenant: &Tenant, id: ConversationId, after: &LifeState) -> Option<(Target, u64)> {
    let conversation = tenant.conversations.get(&id)?;
    let assignee = conversation.assignee().filter(|assignee| after.assignee_id != Some(*assignee))?;
    let agent = tenant.agents.get(&assignee);
    let holds = |state: &AgentState| state.holds(id);
    let held = agent.is_some_and(|agent| agent.is_frozen() || agent.state().is_some_and(holds));
    let behind = agent.map_or(0, |agent| agent.seq.max(agent.as_of)) < conversation.life_seq;
    let free = agent.is_none_or(|agent| agent.lock.is_free());
    (!held && behind && free).then_some((Target::Agent(assignee), conversation.life_seq))
}
