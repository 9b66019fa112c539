//! What staff were told of agents and visitors, and what changed since.
//!
//! Invariant: only changes are told, at most once a second, and the last word on each is told in the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bus_schema::{AgentId, VisitorId, protocol::AgentView, state::AgentStatus};
use tokio::time::Instant;

use super::online::Change;

const PACE: Duration = Duration::from_secs(1);
/// Visitors in one push; the rest follows a second later.
const VISITORS_MAX: usize = 500;

#[derive(Debug, Default)]
pub struct Presence {
    agents: Option<BTreeMap<AgentId, AgentView>>,
    /// Heard of since all were asked for: the answer may be older.
    touched: BTreeSet<AgentId>,
    changed_agents: BTreeMap<AgentId, AgentView>,
    changed_visitors: BTreeMap<VisitorId, Change>,
    told: Option<Instant>,
}

impl Presence {
    /// Agents that changed.
    pub fn agents_changed(&mut self, agents: Vec<AgentView>) {
        let known = self.agents.get_or_insert_default();
        for agent in agents {
            self.touched.insert(agent.id);
            if known.insert(agent.id, agent).as_ref() != Some(&agent) {
                self.changed_agents.insert(agent.id, agent);
            }
        }
    }

    /// The router is asked for all agents.
    pub fn asked(&mut self) {
        self.touched.clear();
    }

    /// All agents, as the router had them. The first time nobody was told anything that could have changed.
    pub fn agents_are(&mut self, mut agents: Vec<AgentView>) {
        let Some(known) = &self.agents else {
            self.agents = Some(agents.into_iter().map(|agent| (agent.id, agent)).collect());
            return;
        };
        let there: BTreeSet<_> = agents.iter().map(|agent| agent.id).collect();
        let touched = std::mem::take(&mut self.touched);
        let gone = known.values().filter(|known| !there.contains(&known.id) && !touched.contains(&known.id));
        let gone: Vec<_> = gone.map(|agent| AgentView { status: AgentStatus::Offline, ..*agent }).collect();
        agents.retain(|agent| !touched.contains(&agent.id));
        self.agents_changed(agents);
        self.agents_changed(gone);
    }

    pub fn visitors_changed(&mut self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            let (id, is) = (change.is.id, change.is.clone());
            // What was told is what there was before the first of them.
            self.changed_visitors.entry(id).or_insert(change).is = is;
        }
    }

    pub fn due(&self, now: Instant) -> Option<Instant> {
        let idle = self.changed_agents.is_empty() && self.changed_visitors.is_empty();
        (!idle).then(|| self.told.map_or(now, |told| told + PACE))
    }

    /// What is to be told now.
    pub fn take(&mut self, now: Instant) -> Option<(Vec<AgentView>, Vec<Change>)> {
        self.due(now).filter(|due| *due <= now)?;
        self.told = Some(now);
        let agents = std::mem::take(&mut self.changed_agents).into_values().collect();
        let mut visitors = Vec::new();
        while visitors.len() < VISITORS_MAX {
            let Some((_, visitor)) = self.changed_visitors.pop_first() else { break };
            visitors.push(visitor);
        }
        Some((agents, visitors))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn agent(n: u128, load: u32) -> AgentView {
        let id = AgentId::from_uuid(Uuid::from_u128(n));
        AgentView { id, status: AgentStatus::Accepting, load, capacity: 5 }
    }

    #[test]
    fn changes_alone_are_told_once_a_second() {
        let now = Instant::now();
        let mut presence = Presence::default();
        presence.agents_are(vec![agent(1, 0), agent(2, 0)]);
        assert_eq!(presence.take(now), None);
        presence.agents_changed(vec![agent(1, 0), agent(2, 1)]);
        assert_eq!(presence.take(now), Some((vec![agent(2, 1)], vec![])));
        presence.agents_changed(vec![agent(2, 2)]);
        presence.agents_changed(vec![agent(2, 3)]);
        assert_eq!((presence.take(now), presence.due(now)), (None, Some(now + PACE)));
        assert_eq!(presence.take(now + PACE), Some((vec![agent(2, 3)], vec![])));
        // What was heard while the answer was on its way is newer.
        presence.asked();
        presence.agents_changed(vec![agent(2, 3)]);
        presence.agents_are(vec![agent(1, 0), agent(2, 0)]);
        assert_eq!(presence.due(now), None);
        presence.asked();
        presence.agents_are(vec![agent(2, 3)]);
        let gone = AgentView { status: AgentStatus::Offline, ..agent(1, 0) };
        assert_eq!(presence.take(now + 2 * PACE), Some((vec![gone], vec![])));
    }
}
