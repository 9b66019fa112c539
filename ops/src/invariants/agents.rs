//! Agents as the log shows them.

use std::collections::{BTreeMap, BTreeSet};

use bus_schema::{AgentId, ConversationId, state::AgentState};

use super::{Invariant, Logged, Violation};

#[derive(Default)]
pub(super) struct Agents {
    last: BTreeMap<AgentId, AgentState>,
    holders: BTreeMap<ConversationId, BTreeSet<AgentId>>,
}

impl Agents {
    pub(super) fn get(&self, agent: AgentId) -> Option<&AgentState> {
        self.last.get(&agent)
    }

    pub(super) fn holders(&self, conversation: ConversationId) -> impl Iterator<Item = AgentId> + '_ {
        self.holders.get(&conversation).into_iter().flatten().copied()
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
        let before = self.last.insert(agent, state.clone());
        for held in before.iter().flat_map(|before| &before.conversations) {
            if let Some(holders) = self.holders.get_mut(&held.conversation_id) {
                holders.remove(&agent);
            }
        }
        for held in &state.conversations {
            self.holders.entry(held.conversation_id).or_default().insert(agent);
        }
    }
}
