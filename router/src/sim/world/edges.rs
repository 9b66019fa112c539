//! Edges: their leases, whom they say is connected, and the commands they pass on.
//!
//! As far as routing sees them, they do what the edge's service does: a report is repeated until it is answered, a
//! digest finds what differs all the same, a command is repeated with the same id.

use std::collections::{BTreeMap, BTreeSet};

use bus_schema::{
    AgentId, CommandId, IncarnationId, TenantId,
    command::{Actor, Answer, Command, CommandRequest, Outcome, PresenceReport},
    limits::COMMAND_WAIT_MS,
    stream::LEASE_REFRESH_MS,
};
use uuid::Uuid;

use super::{LeaseKey, World, agenda::To, net::Reply, setting::EDGES};
use crate::sim::{bugs::Bug, names};

const REPORT_WAIT_MS: u64 = 2_000;
const REPORT_RETRY_MS: u64 = 500;
const DIGEST_EVERY_MS: u64 = 10_000;
/// A link that works again is noticed within this: a lease, a list of leases, and what is decided by it.
pub const NOTICED_MS: i64 = 8_000;
const TRY_MS: u64 = 2_000;
const TRY_PAUSE_MS: u64 = 100;

/// What is done about the one outcome of a command.
type Then = Box<dyn FnOnce(&mut World, Option<Outcome>)>;

pub struct Edge {
    pub run: u32,
    pub up: bool,
    pub linked: bool,
    pub paused_until: i64,
    pub incarnation: IncarnationId,
    /// Up to when it was up and linked to a bus that worked, and long enough for others to have noticed.
    pub reachable_at: i64,
    /// Since when it is linked.
    pub linked_at: i64,
    pub told: BTreeMap<AgentId, Told>,
    rev: u64,
    /// Tenants of whose agents it is being told.
    reporting: BTreeSet<u128>,
}

#[derive(Debug, Clone, Copy)]
pub struct Told {
    rev: u64,
    pub connections: u32,
    answered: u64,
}

impl Edge {
    fn of(&self, tenant: u128) -> impl Iterator<Item = (&AgentId, &Told)> {
        self.told.iter().filter(move |(agent, _)| names::tenant_of(agent.uuid()) == tenant)
    }

    pub fn connects(&self, agent: AgentId) -> bool {
        self.up && self.told.get(&agent).is_some_and(|told| told.connections > 0)
    }
}

impl World {
    pub fn begin_edges(&mut self) {
        for n in 0..EDGES {
            let incarnation = self.draw_incarnation();
            self.edges.push(Edge {
                run: 0,
                up: true,
                linked: true,
                paused_until: 0,
                incarnation,
                reachable_at: self.now,
                linked_at: self.now,
                told: BTreeMap::new(),
                rev: 0,
                reporting: BTreeSet::new(),
            });
            self.boot_edge(n);
        }
    }

    fn draw_incarnation(&mut self) -> IncarnationId {
        IncarnationId::from_uuid(Uuid::from_u128(self.draw_id()))
    }

    fn boot_edge(&mut self, n: usize) {
        let to = self.to_edge(n);
        self.keep_lease(n);
        let first = self.random.between(1, DIGEST_EVERY_MS);
        self.after(first, to, "sends a digest", move |world| world.digest(n));
    }

    pub fn to_edge(&self, n: usize) -> To {
        To::Edge(n, self.edges[n].run)
    }

    /// The process is gone, and all its connections with it.
    pub fn crash_edge(&mut self, n: usize, back_in: u64) {
        if !self.edges[n].up {
            return;
        }
        let gone: Vec<AgentId> = self.edges[n].told.keys().copied().collect();
        self.note_reachable(n);
        let now = self.now;
        for agent in gone {
            if self.edges[n].connects(agent) {
                let (edge, rev) = (self.edges[n].incarnation, self.edges[n].told[&agent].rev);
                self.left_at.insert((edge, agent, rev), now);
                self.comes_back(agent);
            }
        }
        let edge = &mut self.edges[n];
        (edge.up, edge.run) = (false, edge.run + 1);
        edge.reporting.clear();
        edge.told.clear();
        self.visitors_of_crashed(n);
        self.after(back_in, To::World, "an edge starts", move |world| world.restart_edge(n));
    }

    pub fn restart_edge(&mut self, n: usize) {
        if self.edges[n].up {
            return;
        }
        let incarnation = self.draw_incarnation();
        let now = self.now;
        let edge = &mut self.edges[n];
        (edge.up, edge.linked, edge.incarnation) = (true, true, incarnation);
        (edge.reachable_at, edge.linked_at) = (now, now);
        (edge.run, edge.paused_until) = (edge.run + 1, 0);
        self.boot_edge(n);
    }

    /// Remembers that it is reachable now, before it no longer is.
    pub fn note_reachable(&mut self, n: usize) {
        if self.is_reachable(n) {
            self.edges[n].reachable_at = self.now;
        }
    }

    pub fn is_reachable(&self, n: usize) -> bool {
        let edge = &self.edges[n];
        edge.up && edge.linked && self.bus_up && self.now - edge.linked_at >= NOTICED_MS
    }

    fn keep_lease(&mut self, n: usize) {
        let to = self.to_edge(n);
        self.after(LEASE_REFRESH_MS, to, "keeps its lease", move |world| world.keep_lease(n));
        let edge = self.edges[n].incarnation;
        let ask = move |world: &mut World, reply: Reply<()>| {
            if world.bus_up {
                let at = world.at();
                world.leases.put(LeaseKey::Edge(edge), None, World::lease_lives(), at);
                world.answer(reply, ());
            }
        };
        self.call(to, LEASE_REFRESH_MS, "its lease", ask, |world, _| world.idle = true);
    }

    /// An agent has so many connections there now.
    pub fn connect(&mut self, n: usize, agent: AgentId, connections: u32) {
        let now = self.now;
        let edge = &mut self.edges[n];
        edge.rev += 1;
        let rev = edge.rev;
        let told = edge.told.entry(agent).or_insert(Told { rev, connections, answered: 0 });
        if told.connections > 0 && connections == 0 {
            self.left_at.insert((edge.incarnation, agent, rev), now);
        }
        (told.rev, told.connections) = (rev, connections);
        let tenant = names::tenant_of(agent.uuid());
        if edge.reporting.insert(tenant) {
            self.report(n, tenant);
        }
    }

    /// Sends what the router has not answered.
    fn report(&mut self, n: usize, tenant: u128) {
        let edge = &self.edges[n];
        let open = edge.of(tenant).filter(|(_, told)| told.answered < told.rev);
        let reports: Vec<PresenceReport> = open.map(|(agent, told)| report(*agent, *told)).collect();
        if reports.is_empty() {
            self.edges[n].reporting.remove(&tenant);
            return;
        }
        let mut said = reports.clone();
        if self.plan.bug == Some(Bug::OfflineAgentKept) {
            said.retain(|report| report.connections > 0);
        }
        let command = Command::Presence { incarnation: edge.incarnation, agents: said };
        let of = names::of_tenant(tenant, 0);
        let (to, request) = (self.to_edge(n), self.request(of, Actor::SYSTEM, command));
        self.ask(to, names::tenant(of), request, REPORT_WAIT_MS, move |world, outcome| {
            if matches!(outcome, Some(Outcome::Accepted { .. })) {
                world.edges[n].took(&reports);
                return world.report(n, tenant);
            }
            let to = world.to_edge(n);
            world.after(REPORT_RETRY_MS, to, "reports again", move |world| world.report(n, tenant));
        });
    }

    fn digest(&mut self, n: usize) {
        let to = self.to_edge(n);
        let next = self.random.between(DIGEST_EVERY_MS * 8 / 10, DIGEST_EVERY_MS * 12 / 10);
        self.after(next, to, "sends a digest", move |world| world.digest(n));
        for tenant in 1..=self.setting.tenants.len() as u128 {
            self.digest_of(n, tenant);
        }
    }

    fn digest_of(&mut self, n: usize, tenant: u128) {
        let to = self.to_edge(n);
        let edge = &self.edges[n];
        let connected = edge.of(tenant).filter(|(_, told)| told.connections > 0);
        let agents = connected.map(|(agent, told)| report(*agent, *told)).collect();
        if self.plan.bug == Some(Bug::OfflineAgentKept) {
            return;
        }
        let command = Command::PresenceDigest { incarnation: edge.incarnation, agents };
        let of = names::of_tenant(tenant, 0);
        let request = self.request(of, Actor::SYSTEM, command);
        self.ask(to, names::tenant(of), request, REPORT_WAIT_MS, move |world, outcome| {
            let Some(Outcome::Accepted { answer: Answer::PresenceDiffers { agents } }) = outcome else {
                return;
            };
            for agent in agents {
                let known = world.edges[n].told.get(&agent).map_or(0, |told| told.connections);
                world.connect(n, agent, known);
            }
        });
    }

    /// A command of somebody of this number's tenant.
    pub fn request(&mut self, n: u128, actor: Actor, command: Command) -> CommandRequest {
        let command_id = CommandId::from_uuid(self.draw_id_of(n));
        CommandRequest { command_id, actor, deadline: None, command }
    }

    /// A command of somebody at an edge; the one outcome, or none in time.
    pub fn ask(
        &mut self,
        from: To,
        tenant: TenantId,
        mut request: CommandRequest,
        wait: u64,
        then: impl FnOnce(&mut World, Option<Outcome>) + 'static,
    ) {
        let end = self.now + i64::try_from(wait.min(COMMAND_WAIT_MS)).unwrap_or(i64::MAX / 2);
        request.deadline = Some(bus_schema::Timestamp::from_millis(end));
        self.try_ask(from, (tenant, request), end, Box::new(then));
    }

    fn try_ask(&mut self, from: To, request: (TenantId, CommandRequest), end: i64, then: Then) {
        let left = u64::try_from(end - self.now).unwrap_or(0);
        let asked = request.clone();
        *self.tries.entry(request.1.command_id).or_default() += 1;
        let ask = move |world: &mut World, reply| world.pass_on(asked, reply);
        self.call(from, left.clamp(TRY_PAUSE_MS, TRY_MS), "a command", ask, move |world, outcome| {
            let pause = i64::try_from(TRY_PAUSE_MS).unwrap_or(0);
            if outcome.is_some() || world.now + pause >= end {
                return then(world, outcome);
            }
            world.after(TRY_PAUSE_MS, from, "asks again", move |world| {
                world.try_ask(from, request, end, then);
            });
        });
    }

    /// The server gives a command to one of those who take them. One that was cut off still counts as one.
    fn pass_on(&mut self, (tenant, request): (TenantId, CommandRequest), reply: Reply<Outcome>) {
        let takes = |n: &usize| self.routers[*n].up && self.routers[*n].turn.decides();
        let takers: Vec<usize> = (0..self.routers.len()).filter(takes).collect();
        let Some(n) = self.random.pick(&takers).copied() else { return };
        let to = self.to(n);
        if let Some(delay) = self.leg(to) {
            let what = request.command.name();
            self.after(delay, to, what, move |world| world.take_command(n, tenant, request, reply));
        }
    }
}

impl Edge {
    fn took(&mut self, reports: &[PresenceReport]) {
        for report in reports {
            let Some(told) = self.told.get_mut(&report.agent_id) else { continue };
            told.answered = told.answered.max(report.rev);
            if told.connections == 0 && told.answered >= told.rev {
                self.told.remove(&report.agent_id);
            }
        }
    }
}

fn report(agent_id: AgentId, told: Told) -> PresenceReport {
    PresenceReport { agent_id, rev: told.rev, connections: told.connections }
}

/// An edge by its incarnation, while it has it.
pub fn of(edges: &[Edge], incarnation: IncarnationId) -> Option<usize> {
    edges.iter().position(|edge| edge.up && edge.incarnation == incarnation)
}
