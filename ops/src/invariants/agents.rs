//! Agents as the log shows them.

use std::collections::BTreeMap;

use bus_schema::{AgentId, ConversationId, state::AgentState};

use super::{Invariant, Logged, Violation};

#[derive(Default)]
pub(super) struct Agents {
    last: BTreeMap<AgentId, AgentState>,
}

impl Agents {
    pub(super) fn get(&self, agent: AgentId) -> Option<&AgentState> {
        self.last.get(&agent)
    }

    pub(super) fn holders(&self, conversation: ConversationId) -> impl Iterator<Item = AgentId> + '_ {
        self.last.iter().filter(move |(_, state)| state.holds(conversation)).map(|(agent, _)| *agent)
    }

    /// The capacity that counts is the one in the message that the assignment expected: the one before.
    pub(super) fn apply(&mut self, agent: AgentId, logged: &Logged, violations: &mut Vec<Violation>) {
        let Some(state) = logged.event.body.agent_state() else { return };
        let mut found = |what| {
            violations.push(Violation { invariant: Invariant::NeverOverCapacity, seq: logged.seq, what });
        };
        if state.agent_id != agent {
            found(format!("state of {} on the subject of {agent}", state.agent_id));
        }
        let (load_before, capacity_before) =
            self.last.get(&agent).map_or((0, state.capacity), |before| (before.load(), before.capacity));
        if state.load() > load_before && state.load() > capacity_before {
            found(format!(
                "{agent} was given a conversation and now holds {} of {capacity_before}",
                state.load()
            ));
        }
        self.last.insert(agent, state.clone());
    }
}
