//! What decisions say of a group's members: kept for each, so that reasons do not cost a look at everyone.
//!
//! Invariant: a row is what [`weigh`] makes of its member now; `index_agent` keeps it so, as it does the other indexes.

use std::{borrow::Cow, collections::BTreeMap};

use bus_schema::{
    AgentId, GroupId,
    config::MemberPriority,
    state::{AgentState, AgentStatus, Candidate, Decision, Refusal},
};

use super::{agent::Agent, config::Config, rules::members, slot::QueueId, tenant::Tenant};

/// What decisions say of the members of each group that exists.
pub type Rosters = BTreeMap<GroupId, Vec<Candidate>>;

/// Members of a group who are looked at for those who were passed over.
const WEIGHED_MAX: usize = 2 * Decision::CANDIDATES_MAX;

/// How a member stands to the next thread of a queue: who is refused was passed over.
pub fn weigh(
    config: &Config,
    queue: QueueId,
    (id, priority): (AgentId, MemberPriority),
    agent: Option<&Agent>,
) -> Candidate {
    let state = agent.and_then(Agent::state);
    let serves = agent.is_some_and(|agent| agent.serves(queue));
    let refused = if serves { None } else { refusal(config, queue, (id, priority), state) };
    candidate(state, id, priority, refused)
}

pub fn candidate(
    state: Option<&AgentState>,
    agent_id: AgentId,
    priority: MemberPriority,
    refused: Option<Refusal>,
) -> Candidate {
    Candidate {
        agent_id,
        load: state.map_or(0, AgentState::load),
        capacity: state.map_or(0, |state| state.capacity),
        priority,
        last_assigned_at: state.and_then(|state| state.last_assigned_at),
        refused,
    }
}

/// Why rules give the member nothing; none where they give nobody anything, and the member could take it.
fn refusal(
    config: &Config,
    queue: QueueId,
    (id, priority): (AgentId, MemberPriority),
    state: Option<&AgentState>,
) -> Option<Refusal> {
    let deleted = config.agent(id).is_some_and(|record| record.deleted);
    let Some(state) = state else {
        return Some(if deleted { Refusal::Deleted } else { Refusal::Offline });
    };
    match state.seen_status() {
        _ if deleted || state.deleted => Some(Refusal::Deleted),
        _ if priority == MemberPriority::Supervisor => Some(Refusal::SupervisorMember),
        AgentStatus::Offline => Some(Refusal::Offline),
        AgentStatus::NotAccepting => Some(Refusal::NotAccepting),
        AgentStatus::Accepting if !config.has_room(queue, state) => Some(Refusal::AtCapacity),
        AgentStatus::Accepting => config.automatic(queue).map(|_| Refusal::Unknown),
    }
}

impl Tenant {
    /// How the queue's members stand to its next thread, in the group's order. Kept of groups alone.
    pub fn rows(&self, queue: QueueId) -> Cow<'_, [Candidate]> {
        match queue {
            Some(group) => Cow::Borrowed(self.rosters.get(&group).map_or(&[], Vec::as_slice)),
            None => Cow::Owned(self.weighed(None)),
        }
    }

    /// The rows as they are to be.
    pub fn weighed(&self, queue: QueueId) -> Vec<Candidate> {
        let members = members(self, queue).take(WEIGHED_MAX);
        members.map(|member| weigh(&self.config, queue, member, self.agents.get(&member.0))).collect()
    }

    /// Brings a group's rows in line with its members.
    pub fn index_group(&mut self, group: GroupId) {
        let rows = self.weighed(Some(group));
        if rows.is_empty() {
            self.rosters.remove(&group);
        } else {
            self.rosters.insert(group, rows);
        }
    }
}

/// Brings an agent's rows in line with what is known of them.
pub fn index_rows(rosters: &mut Rosters, config: &Config, id: AgentId, agent: Option<&Agent>) {
    for group in config.queues_of(id).filter_map(|(queue, _)| queue) {
        let rows = rosters.get_mut(&group).into_iter().flatten();
        for row in rows.filter(|row| row.agent_id == id) {
            *row = weigh(config, Some(group), (id, row.priority), agent);
        }
    }
}
