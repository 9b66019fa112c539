//! Numbers of the moment, for metrics and readiness.

use bus_schema::{Subject, Timestamp, state::AgentStatus};

use super::{Routing, agent::Agent, slot::Target};

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    pub queued: u64,
    pub oldest_queued: Option<Timestamp>,
    pub open: u64,
    pub accepting: u64,
    pub not_accepting: u64,
    pub offline: u64,
    pub slots_used: u64,
    pub slots_free: u64,
    pub writes_in_flight: u64,
}

impl Routing {
    pub fn stats(&self) -> Stats {
        let mut stats = Stats { writes_in_flight: self.shared.flights.len() as u64, ..Stats::default() };
        for tenant in self.tenants.values() {
            stats.open += tenant.open.values().map(|keys| keys.len() as u64).sum::<u64>();
            for queue in tenant.queues.values() {
                stats.queued += queue.waiting.len() as u64;
                let oldest = queue.by_start.first().map(|key| key.started_at);
                stats.oldest_queued = stats.oldest_queued.into_iter().chain(oldest).min();
            }
            for state in tenant.agents.values().filter_map(Agent::stored).filter(|state| !state.deleted) {
                match state.seen_status() {
                    AgentStatus::Accepting => stats.accepting += 1,
                    AgentStatus::NotAccepting => stats.not_accepting += 1,
                    AgentStatus::Offline => stats.offline += 1,
                }
                stats.slots_used += u64::from(state.load());
                if state.seen_status() == AgentStatus::Accepting {
                    stats.slots_free += u64::from(state.capacity.saturating_sub(state.load()));
                }
            }
        }
        stats
    }

    /// Subjects that are left alone because their state cannot be read; at most `max` of them.
    pub fn frozen(&self, max: usize) -> Vec<Subject> {
        let shard = self.shared.settings.shard;
        let of_tenant = |tenant: &super::tenant::Tenant| {
            let agents = tenant.agents.iter().filter(|(_, agent)| agent.is_frozen());
            let conversations = tenant.conversations.sorted().into_iter().filter(|(_, c)| c.is_frozen());
            let targets =
                agents.map(|(id, _)| Target::Agent(*id)).chain(conversations.map(|(id, _)| Target::Life(id)));
            targets.map(|target| target.subject(shard, tenant.id)).collect::<Vec<_>>()
        };
        self.tenants.values().flat_map(of_tenant).take(max).collect()
    }
}
