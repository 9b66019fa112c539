//! After the faults: everything comes to rest, soon, and as the invariants want it.

use bus_schema::{
    AgentId, ConversationId,
    config::{MemberPriority, Record},
    state::{AgentState, AgentStatus, LifeState, Strategy, ThreadStatus},
};

use super::{World, router::Router};
use crate::{routing::invariants, sim::check::Kept};

/// Time in which everything is to come to rest: leases end, the grace time, pauses, whoever is passed over.
const SETTLES_MS: i64 = 40_000;
/// What a sweep finds after it is a fault of routing's.
const WATCHED_MS: i64 = 12_000;
/// A violation that is still there after so many looks, so far apart, stays.
const LOOKS: u32 = 12;
const LOOK_EVERY_MS: i64 = 500;
/// Visitors are missed within the time that groups allow, twice: when that is asked for, and before it ends a thread.
const LET_GO_MS: i64 = 30_000;

impl World {
    pub fn come_to_rest(&mut self) {
        self.note(|| "the faults end".into());
        self.heal();
        self.run_for(SETTLES_MS);
        let mended = self.mended();
        self.run_for(WATCHED_MS);
        if self.violation.is_some() {
            return;
        }
        if mended != self.mended() {
            return self
                .violate("repairs-nothing", format!("sweeps mended {mended:?}, then {:?}", self.mended()));
        }
        let mut found = self.at_rest();
        for _ in 0..LOOKS {
            if found.is_empty() || self.violation.is_some() {
                return;
            }
            self.run_for(LOOK_EVERY_MS);
            let still = self.at_rest();
            found.retain(|what| still.contains(what));
        }
        if let Some((invariant, what)) = found.into_iter().next() {
            self.violate(invariant, what);
        }
    }

    fn run_for(&mut self, ms: i64) {
        let end = self.now + ms;
        while self.violation.is_none() && self.agenda.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    fn mended(&self) -> Vec<u64> {
        self.routers.iter().map(|router| router.core.counters().mended).collect()
    }

    /// What is not as it should be.
    fn at_rest(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        for (n, router) in self.routers.iter().enumerate() {
            let stats = router.core.stats();
            if stats.writes_in_flight > 0 || !router.flights.is_empty() {
                let ids: Vec<_> = router.flights.keys().collect();
                found.push(("no-stuck-write", format!("router {n} still writes {ids:?}")));
                continue;
            }
            found.extend(invariants::check(&router.core).into_iter().map(|what| ("at-rest", what)));
            let (open, queued) = self.ledger.counts();
            if (stats.open, stats.queued) != (open, queued) && router.core.frozen(1).is_empty() {
                let what = format!(
                    "router {n} knows {} open, {} queued of {open}, {queued}",
                    stats.open, stats.queued
                );
                found.push(("knows-the-log", what));
            }
        }
        if !self.setting.wild_clocks || self.routers.iter().all(|router| router.turn.decides()) {
            found.extend(self.presence_at_rest());
        }
        found.extend(self.left_at_rest());
        found.extend(self.idle_at_rest());
        found
    }

    /// Nobody waits beside somebody who is free, by the log's and the configuration's word alone: whatever routers
    /// believe to know does not count.
    fn idle_at_rest(&self) -> Vec<(&'static str, String)> {
        if !self.routers.iter().any(|router| router.turn.decides()) {
            return Vec::new();
        }
        let queued = self.ledger.lives.iter().filter(|(_, kept)| kept.state.status == ThreadStatus::Queued);
        let beside = |(id, kept): (&ConversationId, &Kept<LifeState>)| {
            let desk = self.ledger.desk(*id).map(|kept| &kept.state);
            let for_anybody = desk.is_none_or(|desk| {
                desk.avoid.is_empty()
                    && desk.offers.is_empty()
                    && (desk.skills.is_empty() || desk.skills_waived)
            });
            let agent = for_anybody.then(|| self.free_for(*id, &kept.state)).flatten()?;
            Some(("no-idle-queue", format!("{id} waits while {agent} is free, says the log")))
        };
        queued.filter_map(beside).collect()
    }

    /// Somebody to whom rules may give it.
    fn free_for(&self, id: ConversationId, life: &LifeState) -> Option<AgentId> {
        let group = match life.group_id {
            Some(group) => Some(self.group(group)?),
            None => None,
        };
        let serves = group.is_none_or(|group| {
            let hours = group.routing.hours.as_ref();
            let open = |router: &Router| hours.is_none_or(|hours| hours.is_open(router.core.now()));
            group.strategy != Strategy::Manual && self.routers.iter().all(open)
        });
        let tenant = self.tenant(id);
        let free = |agent: &AgentId, state: &AgentState| {
            let record = self.agent(*agent);
            let settled = record.is_some_and(|record| !record.deleted && record.capacity == state.capacity);
            let member = group.is_none_or(|group| {
                let mut members = group.members.iter().filter(|m| m.priority != MemberPriority::Supervisor);
                let max = group.routing.agent_max.filter(|max| *max > 0);
                members.any(|member| member.agent_id == *agent)
                    && max.is_none_or(|max| state.held_in(group.group_id) < max)
            });
            let accepts = state.seen_status() == AgentStatus::Accepting && !state.deleted;
            record.is_some_and(|record| record.tenant_id == tenant)
                && settled
                && member
                && accepts
                && state.has_room()
        };
        let mut agents = self.ledger.agents.iter().filter(|_| serves);
        agents.find(|(agent, kept)| free(agent, &kept.state)).map(|(agent, _)| *agent)
    }

    /// Nobody's thread stays open for ever after they left.
    fn left_at_rest(&self) -> Vec<(&'static str, String)> {
        let open = self.ledger.lives.iter().filter(|(_, kept)| kept.state.status.is_open());
        let left = open.filter(|(id, kept)| {
            let away = self.visitor_away_since(**id).map(|since| self.now - since);
            let ends = self.rules_of(&kept.state).and_then(|rules| rules.visitor_gone_after);
            ends.is_some() && away.is_some_and(|away| away > LET_GO_MS) && !self.setting.wild_clocks
        });
        left.map(|(id, _)| ("visitors-who-left-are-let-go", format!("{id} is open"))).collect()
    }

    /// Nobody stays online without a connection, nobody offline with one.
    fn presence_at_rest(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let configured = self.records.iter().filter_map(|record| match record {
            Record::Agent(agent) => Some(agent.agent_id),
            _ => None,
        });
        let agents: std::collections::BTreeSet<AgentId> = configured.collect();
        for agent in agents {
            let truth = self.edges.iter().any(|edge| edge.connects(agent));
            let state = self.ledger.agent(agent);
            let stored = state.is_some_and(|state| state.is_connected());
            if truth != stored && (truth || state.is_some()) {
                found.push((
                    "presence-is-true",
                    format!("{agent} is connected: {truth}; the log says {stored}"),
                ));
            }
            let lost = state.filter(|state| !state.is_connected());
            if let Some(held) =
                lost.and_then(|state| state.conversations.iter().find(|held| !held.given_away))
            {
                found.push((
                    "agents-who-left-hold-nothing",
                    format!("{agent} holds {}", held.conversation_id),
                ));
            }
        }
        found
    }
}
