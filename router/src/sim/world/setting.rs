//! What differs from seed to seed before anything happens: replicas, turns, clocks, tenants, strategies, timers, queues,
//! capacities.

use std::time::Duration;

use bus_schema::{
    AgentId,
    config::{MemberPriority, Record, RoutingSettings, WhenOffline},
    hours::{Day, Hours, OpenSpan},
    state::Strategy,
};

use super::World;
use crate::sim::{bus::Replicas, names, random::Random};

/// Of all tenants together, who have equal shares of them.
const AGENTS: u128 = 6;
const VISITORS: u128 = 24;
/// Agents of a tenant, at least.
const AGENTS_MIN: u128 = 3;
pub const EDGES: usize = 3;
pub const ROUTERS: usize = 3;
pub const GROUPS: u128 = 2;
/// How long an agent or an edge may be away: longer than it takes to notice that leases cannot be listed.
pub const GRACE: Duration = Duration::from_secs(10);
/// Clocks of a tame world differ from the bus's by less.
pub const SKEW_MS: i64 = 1_000;

#[derive(Debug, Clone)]
pub struct Setting {
    pub replicas: Replicas,
    /// Routers take turns by a lease; else all decide at once.
    pub lease: bool,
    /// Clocks jump far; nothing is checked then that rests on them.
    pub wild_clocks: bool,
    /// Milliseconds between what visitors do, and what staff do.
    pub visitors_every: u64,
    pub staff_every: u64,
    pub faults_every: u64,
    pub tenants: Vec<Tenant>,
}

/// One of those whose conversations are in the log.
#[derive(Debug, Clone)]
pub struct Tenant {
    number: u128,
    agents: u128,
    visitors: u128,
    groups: Vec<Group>,
}

/// How a group routes.
#[derive(Debug, Clone)]
pub struct Group {
    strategy: Strategy,
    queue_max: Option<u32>,
    when_offline: WhenOffline,
    routing: RoutingSettings,
}

impl Tenant {
    fn draw(random: &mut Random, number: u128, of: u128) -> Self {
        Self {
            number,
            agents: (AGENTS / of).max(AGENTS_MIN),
            visitors: VISITORS / of,
            groups: (0..GROUPS).map(|_| Group::draw(random)).collect(),
        }
    }

    fn numbers(&self, of: u128) -> impl Iterator<Item = u128> + use<> {
        let tenant = self.number;
        (1..=of).map(move |n| names::of_tenant(tenant, n))
    }

    pub fn agents(&self) -> impl Iterator<Item = u128> + use<> {
        self.numbers(self.agents)
    }

    pub fn visitors(&self) -> impl Iterator<Item = u128> + use<> {
        self.numbers(self.visitors)
    }
}

impl Group {
    fn draw(random: &mut Random) -> Self {
        let strategies = [
            Strategy::LeastLoaded,
            Strategy::LeastLoaded,
            Strategy::RoundRobin,
            Strategy::Sticky,
            Strategy::Broadcast,
            Strategy::Manual,
        ];
        let strategy = *random.pick(&strategies).expect("there are some");
        let queue_max = random.chance(250).then(|| u32::try_from(random.between(1, 6)).unwrap_or(1));
        let when_offline = if random.chance(250) { WhenOffline::Close } else { WhenOffline::Keep };
        let routing = RoutingSettings { hours: hours(random), ..timers(random) };
        Self { strategy, queue_max, when_offline, routing }
    }
}

/// A world begins at 01:46:40 on a Sunday, so that these begin and end while it lasts.
const OPEN: [(&str, &str); 5] =
    [("00:00", "01:47"), ("00:00", "01:48"), ("01:47", "24:00"), ("01:48", "24:00"), ("01:47", "01:48")];

fn hours(random: &mut Random) -> Option<Hours> {
    let (from, to) = random.pick(&OPEN).copied().filter(|_| random.chance(200))?;
    let span = OpenSpan { day: Day::Sun, from: from.to_owned(), to: to.to_owned() };
    Some(Hours { time_zone: "UTC".to_owned(), open: vec![span] })
}

impl Setting {
    pub fn draw(random: &mut Random) -> Self {
        let replicas = if random.chance(400) { Replicas::One } else { Replicas::Three };
        let tenants = *random.pick(&[1, 1, 2, 2, 3]).expect("there are some");
        let tenants = (1..=tenants).map(|number| Tenant::draw(random, number, tenants)).collect();
        Self {
            replicas,
            lease: random.chance(500),
            wild_clocks: random.chance(200),
            visitors_every: random.between(60, 600),
            staff_every: random.between(60, 600),
            faults_every: random.between(500, 4000),
            tenants,
        }
    }

    pub fn agents(&self) -> Vec<u128> {
        self.tenants.iter().flat_map(Tenant::agents).collect()
    }

    pub fn visitors(&self) -> Vec<u128> {
        self.tenants.iter().flat_map(Tenant::visitors).collect()
    }
}

/// Half of all groups have none.
fn timers(random: &mut Random) -> RoutingSettings {
    if random.chance(400) {
        return RoutingSettings::default();
    }
    let mut some =
        |from: u64, to: u64| random.chance(650).then(|| u32::try_from(random.between(from, to)).unwrap_or(1));
    RoutingSettings {
        offer_to: some(1, 4),
        offer_s: some(1, 6),
        skills_waive_s: some(2, 10),
        agent_max: some(1, 4),
        answer_s: some(3, 12),
        misses_max: some(1, 4),
        idle_s: some(4, 15),
        idle_close_s: some(2, 8),
        queue_s: some(8, 30),
        visitor_gone_s: some(2, 8),
        ..RoutingSettings::default()
    }
}

impl World {
    pub fn tenant_setting(&self, n: u128) -> &Tenant {
        let number = names::tenant_number(n);
        let found = self.setting.tenants.iter().find(|tenant| tenant.number == number);
        found.expect("a number of somebody's")
    }

    pub fn configure_all(&mut self) {
        for tenant in self.setting.tenants.clone() {
            self.configure(&tenant);
        }
    }

    fn configure(&mut self, tenant: &Tenant) {
        self.revision += 1;
        let mut record = names::tenant_record(self.revision);
        record.tenant_id = names::tenant(names::of_tenant(tenant.number, 0));
        record.thread_per_assignment = self.random.chance(500);
        self.records.push(Record::Tenant(record));
        for n in tenant.agents() {
            let capacity = u32::try_from(self.random.between(1, 5)).unwrap_or(1);
            self.configure_agent(n, capacity, false);
        }
        let all: Vec<AgentId> = tenant.agents().map(names::agent).collect();
        let half = all[..all.len().div_ceil(2)].to_vec();
        for (n, members) in [(1, half), (2, all)] {
            self.revision += 1;
            let Group { strategy, queue_max, when_offline, routing } = tenant.groups[n - 1].clone();
            let id = names::group(names::of_tenant(tenant.number, n as u128));
            let mut record = names::group_record(id, strategy, &members, self.revision);
            (record.queue_max, record.when_offline) = (queue_max, when_offline);
            record.routing = routing;
            for member in &mut record.members {
                if self.random.chance(100) {
                    member.priority = MemberPriority::Last;
                }
            }
            self.records.push(Record::Group(record));
        }
    }

    /// Some can do more than others.
    pub fn configure_agent(&mut self, n: u128, capacity: u32, deleted: bool) {
        self.revision += 1;
        let mut record = names::agent_record(names::agent(n), capacity, self.revision);
        record.skills = vec!["first".to_owned(); usize::from(n % 2 == 1)];
        record.deleted = deleted;
        self.records.push(Record::Agent(record));
        for router in 0..self.routers.len() {
            self.tell_config_soon(router);
        }
    }

    /// The newest record of a group.
    pub fn group(&self, id: bus_schema::GroupId) -> Option<&bus_schema::config::GroupRecord> {
        self.records.iter().rev().find_map(|record| match record {
            Record::Group(group) if group.group_id == id => Some(group),
            _ => None,
        })
    }

    pub fn agent(&self, id: AgentId) -> Option<&bus_schema::config::AgentRecord> {
        self.records.iter().rev().find_map(|record| match record {
            Record::Agent(agent) if agent.agent_id == id => Some(agent),
            _ => None,
        })
    }
}
