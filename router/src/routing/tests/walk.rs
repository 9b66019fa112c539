//! Random walks: several routers over one model bus, with lagging and repeated reads, acknowledgements that come
//! late, crashes whose writes land afterwards, agents, edges and configuration that change. The bus checks every
//! write; after the faults end, everything must come to rest as the invariants want it.
//!
//! `SIM_SEED=<n>` repeats one walk, `SIM_WALKS=<n>` makes more of them.

use std::{collections::BTreeMap, time::Duration};

use bus_schema::{
    AgentId, Author, CommandId, ConversationId, Subject, ThreadId, Timestamp,
    claims::Role,
    command::{Actor, Command, CommandRequest, PresenceReport},
    config::{AgentRecord, Record, RoutingSettings},
    state::{CloseReason, Priority, RoutingStatus, Strategy},
};
use uuid::Uuid;

use super::super::{Effect, Input, Routing, Token, Write, WriteFailure, invariants};
use super::{bus::Bus, world::*};

const AGENTS: u128 = 5;
const VISITORS: u128 = 30;
const EDGES: u128 = 2;
const STEPS: usize = 1500;
const WALKS: u64 = 30;

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_of(&mut self, n: u128) -> u128 {
        u128::from(self.next()) % n + 1
    }
}

/// A router with its own view of the world.
struct Node {
    routing: Routing,
    read: usize,
    told: usize,
    writes: Vec<Write>,
    refreshes: Vec<Subject>,
    looks: Vec<(ConversationId, ThreadId, u64)>,
    questions: Vec<Vec<ConversationId>>,
    answers: Vec<Input>,
}

impl Node {
    fn new(incarnation: u128) -> Self {
        Self {
            routing: Routing::new(settings(incarnation)),
            read: 0,
            told: 0,
            writes: Vec::new(),
            refreshes: Vec::new(),
            looks: Vec::new(),
            questions: Vec::new(),
            answers: Vec::new(),
        }
    }

    fn input(&mut self, input: Input, now: Timestamp) {
        self.routing.handle(input, now);
        while let Some(effect) = self.routing.poll_effect() {
            match effect {
                Effect::Write(write) => self.writes.push(write),
                Effect::Refresh { subject } => self.refreshes.push(subject),
                Effect::Look { conversation, thread, after, .. } => {
                    self.looks.push((conversation, thread, after));
                }
                Effect::AskEdges { conversations, .. } => self.questions.push(conversations),
                Effect::Reply { .. } | Effect::Tell { .. } => {}
            }
        }
    }
}

struct Walk {
    random: Random,
    bus: Bus,
    nodes: Vec<Node>,
    now: Timestamp,
    /// Configuration and leases, in the order in which every node is told.
    told: Vec<Input>,
    /// Writes of crashed routers that are still on their way.
    ghosts: Vec<Write>,
    /// What each edge last reported of each agent.
    presence: BTreeMap<(u128, u128), (u64, u32)>,
    next: u128,
    revision: u64,
    crashes: bool,
    /// What sweeps had put right when everything should have been at rest.
    repaired: Option<Vec<u64>>,
}

impl Walk {
    fn new(seed: u64, nodes: usize, crashes: bool) -> Self {
        let strict = nodes == 1 && !crashes;
        let mut walk = Self {
            random: Random(seed),
            bus: if strict { Bus::strict() } else { Bus::default() },
            nodes: Vec::new(),
            now: Timestamp::from_millis(1_000_000),
            told: Vec::new(),
            ghosts: Vec::new(),
            presence: BTreeMap::new(),
            next: 0,
            revision: 0,
            crashes,
            repaired: None,
        };
        let strategies = [
            Strategy::LeastLoaded,
            Strategy::RoundRobin,
            Strategy::Sticky,
            Strategy::Broadcast,
            Strategy::Manual,
        ];
        let strategy = strategies[walk.random.below(strategies.len())];
        let timers = walk.timers();
        for n in 1..=AGENTS {
            walk.configure_agent(n, 1 + (n as u32 % 4), false);
        }
        let half: Vec<AgentId> = (1..=AGENTS / 2).map(agent).collect();
        let all: Vec<AgentId> = (1..=AGENTS).map(agent).collect();
        for (n, members) in [(1, half), (2, all)] {
            walk.revision += 1;
            let mut record = group_record(group(n), strategy, &members, walk.revision);
            record.routing = timers.clone();
            walk.told.push(Input::Config(Record::Group(record)));
        }
        walk.revision += 1;
        let mut tenant = tenant_record(walk.revision);
        tenant.thread_per_assignment = walk.random.below(2) == 0;
        walk.told.push(Input::Config(Record::Tenant(tenant)));
        for n in 1..=EDGES {
            walk.told.push(Input::Lease { incarnation: edge(n), alive: true });
        }
        for _ in 0..nodes {
            let node = walk.boot();
            walk.nodes.push(node);
        }
        walk
    }

    /// Half of all walks have none.
    fn timers(&mut self) -> RoutingSettings {
        if self.random.below(2) == 0 {
            return RoutingSettings::default();
        }
        let mut some = |below: usize| (self.random.below(3) > 0).then(|| 1 + self.random.below(below) as u32);
        RoutingSettings {
            offer_to: some(3),
            offer_s: some(20),
            skills_waive_s: some(30),
            agent_max: some(3),
            answer_s: some(40),
            misses_max: some(3),
            idle_s: some(60),
            idle_close_s: some(30),
            queue_s: some(90),
            visitor_gone_s: some(90),
            ..RoutingSettings::default()
        }
    }

    fn boot(&mut self) -> Node {
        self.next += 1;
        let mut node = Node::new(self.next);
        for input in &self.told {
            node.input(input.clone(), self.now);
        }
        node.told = self.told.len();
        let mut last: BTreeMap<Subject, usize> = BTreeMap::new();
        for (index, stored) in self.bus.log.iter().enumerate() {
            last.insert(stored.subject, index);
        }
        let mut last: Vec<usize> = last.into_values().collect();
        last.sort_unstable();
        for index in last {
            node.input(Input::Log(self.bus.log[index].clone()), self.now);
        }
        node.read = self.bus.log.len();
        node.input(Input::Activate, self.now);
        node
    }

    fn configure_agent(&mut self, n: u128, capacity: u32, deleted: bool) {
        self.revision += 1;
        // Some can do more than others.
        let skills = vec!["first".to_owned(); (n % 2) as usize];
        let record = AgentRecord { deleted, skills, ..agent_record(agent(n), capacity, self.revision) };
        self.told.push(Input::Config(Record::Agent(record)));
    }

    fn step(&mut self) {
        let at = self.random.below(self.nodes.len());
        match self.random.below(100) {
            0..8 => self.start(),
            8..10 => self.say(),
            10..35 => self.read(at),
            35..38 => self.read_again(at),
            38..60 => self.carry_out(at),
            60..78 => self.answer(at),
            78..90 => self.command(at),
            90..93 => self.pass_time(at),
            93 => {
                let conversation = conversation(self.random.one_of(VISITORS));
                let came = self.random.below(2) == 0;
                let moved = Input::Visitor { tenant: TENANT, conversation, came };
                self.nodes[at].input(moved, self.now);
            }
            94..96 => self.change_configuration(),
            96 => self.change_lease(),
            97 => self.ghost(),
            98 if self.crashes => self.crash(at),
            99 if self.crashes => {
                self.nodes[at].input(Input::StandBy, self.now);
                self.nodes[at].input(Input::Activate, self.now);
            }
            _ => {}
        }
    }

    fn start(&mut self) {
        let n = self.random.one_of(VISITORS);
        if self.bus.life(conversation(n)).is_some_and(|life| life.status.is_open()) {
            return;
        }
        self.next += 1;
        let thread = ThreadId::from_uuid(Uuid::from_u128(0x7_0000 + self.next));
        let group = match self.random.below(5) {
            0 => None,
            1 => Some(group(2)),
            _ => Some(group(1)),
        };
        self.bus.store(life_subject(conversation(n)), started(n, thread, group, self.now), self.now);
    }

    fn say(&mut self) {
        let n = self.random.one_of(VISITORS);
        let Some(life) = self.bus.life(conversation(n)).filter(|life| life.status.is_open()) else { return };
        let author = match life.assignee_id {
            Some(agent) if self.random.below(2) == 0 => Author::agent(agent),
            _ => Author::visitor(visitor(n)),
        };
        self.next += 1;
        let event = said(n, life.thread_id, author, self.next);
        self.bus.store(msg_subject(conversation(n)), event, self.now);
    }

    fn read(&mut self, at: usize) {
        for _ in 0..=self.random.below(6) {
            let node = &mut self.nodes[at];
            if let Some(input) = self.told.get(node.told).cloned() {
                node.told += 1;
                node.input(input, self.now);
            }
            if let Some(stored) = self.bus.log.get(node.read).cloned() {
                node.read += 1;
                node.input(Input::Log(stored), self.now);
            }
        }
    }

    fn read_again(&mut self, at: usize) {
        if self.nodes[at].read > 0 {
            let old = self.random.below(self.nodes[at].read);
            let stored = self.bus.log[old].clone();
            self.nodes[at].input(Input::Log(stored), self.now);
        }
    }

    fn carry_out(&mut self, at: usize) {
        if !self.nodes[at].writes.is_empty() {
            // Somebody's `take` of the head that is under way may be overtaken by the next one's assignment.
            let among = if self.bus.strict_fifo { 1 } else { self.nodes[at].writes.len() };
            let index = self.random.below(among);
            let write = self.nodes[at].writes.remove(index);
            let answer = self.store(&write);
            self.nodes[at].answers.push(answer);
        }
        if !self.nodes[at].refreshes.is_empty() {
            let index = self.random.below(self.nodes[at].refreshes.len());
            let subject = self.nodes[at].refreshes.remove(index);
            let last = self.bus.last(subject);
            self.nodes[at].answers.push(Input::Refreshed { subject, last });
        }
        self.look(at);
        self.ask_edges(at);
    }

    /// Edges know of some, of others not, and now and then nobody answers.
    fn ask_edges(&mut self, at: usize) {
        let Some(asked) = self.nodes[at].questions.pop() else { return };
        let heard = self.random.below(10) > 0;
        let there = asked.iter().copied().filter(|_| self.random.below(3) > 0).collect();
        let said = Input::EdgesSaid { tenant: TENANT, asked, there: heard.then_some(there) };
        self.nodes[at].answers.push(said);
    }

    fn look(&mut self, at: usize) {
        let Some((conversation, thread, after)) = self.nodes[at].looks.pop() else { return };
        let (said, up_to) = self.bus.said(conversation, after);
        let looked = Input::Looked { tenant: TENANT, conversation, thread, said, up_to, more: false };
        self.nodes[at].answers.push(looked);
    }

    fn store(&mut self, write: &Write) -> Input {
        // What the server refuses is left alone for a while, and others go first.
        if self.random.below(40) == 0 && !self.bus.strict_fifo {
            return Input::WriteFailed { id: write.id, why: WriteFailure::Refused };
        }
        match self.bus.publish(&write.messages, self.now) {
            Some(seqs) => Input::Written { id: write.id, seqs },
            None => Input::WriteFailed { id: write.id, why: WriteFailure::Mismatch },
        }
    }

    fn answer(&mut self, at: usize) {
        if !self.nodes[at].answers.is_empty() {
            let index = self.random.below(self.nodes[at].answers.len());
            let answer = self.nodes[at].answers.remove(index);
            self.nodes[at].input(answer, self.now);
        }
    }

    fn command(&mut self, at: usize) {
        let n = self.random.one_of(AGENTS);
        let conversation_id = conversation(self.random.one_of(VISITORS));
        let me = Actor::agent(agent(n), Role::Agent);
        let thread_id = None;
        let (actor, command) = match self.random.below(18) {
            0..3 => (Actor::SYSTEM, self.presence(n)),
            3..5 => {
                let accepts = self.random.below(4) > 0;
                let status = if accepts { RoutingStatus::Accepting } else { RoutingStatus::NotAccepting };
                (me, Command::SetStatus { agent_id: agent(n), status })
            }
            5..7 => (me, Command::Take { conversation_id, thread_id: None }),
            7 => {
                (Actor::agent(agent(n), Role::Supervisor), Command::Take { conversation_id, thread_id: None })
            }
            12 => {
                let (agent_id, group_id) = match self.random.below(2) {
                    0 => (Some(agent(n)), None),
                    _ => (None, Some(group(self.random.one_of(2)))),
                };
                let queue = self.random.below(2) == 0;
                let by = if self.random.below(2) == 0 { supervisor() } else { me };
                (by, Command::Transfer { conversation_id, thread_id, agent_id, group_id, queue })
            }
            13 => (me, Command::Join { conversation_id, thread_id }),
            14 => (me, Command::Leave { conversation_id, thread_id }),
            15 => (supervisor(), Command::Reopen { conversation_id }),
            16 => {
                let of = [Priority::Low, Priority::Normal, Priority::High, Priority::Urgent];
                let priority = of[self.random.below(of.len())];
                (supervisor(), Command::SetPriority { conversation_id, thread_id, priority })
            }
            17 => {
                let skills = vec!["first".to_owned(); self.random.below(2)];
                (supervisor(), Command::SetSkills { conversation_id, thread_id, skills })
            }
            8 => (supervisor(), Command::Assign { conversation_id, thread_id: None, agent_id: agent(n) }),
            _ => {
                let reason = CloseReason::Resolved;
                (supervisor(), Command::Close { conversation_id, thread_id: None, reason })
            }
        };
        self.send(at, actor, command);
    }

    fn send(&mut self, at: usize, actor: Actor, command: Command) {
        self.next += 1;
        let command_id = CommandId::from_uuid(Uuid::from_u128(self.next));
        let token = Token(self.next as u64);
        let request = CommandRequest { command_id, actor, deadline: None, command };
        self.nodes[at].input(Input::Command { token, tenant: TENANT, request }, self.now);
    }

    fn presence(&mut self, n: u128) -> Command {
        let at = self.random.one_of(EDGES);
        let connections = self.random.below(4) as u32;
        let known = self.presence.entry((at, n)).or_insert((0, 0));
        // Now and then an old report arrives once more.
        if self.random.below(5) > 0 {
            *known = (known.0 + 1, connections);
        }
        let report = PresenceReport { agent_id: agent(n), rev: known.0, connections: known.1 };
        Command::Presence { incarnation: edge(at), agents: vec![report] }
    }

    fn pass_time(&mut self, at: usize) {
        self.now = self.now.plus(Duration::from_millis(self.random.next() % 4000));
        self.nodes[at].input(Input::Tick, self.now);
    }

    fn change_configuration(&mut self) {
        let (n, capacity) = (self.random.one_of(AGENTS), self.random.below(5) as u32);
        let deleted = self.random.below(8) == 0;
        self.configure_agent(n, capacity, deleted);
    }

    fn change_lease(&mut self) {
        let (n, alive) = (self.random.one_of(EDGES), self.random.below(2) == 0);
        self.told.push(Input::Lease { incarnation: edge(n), alive });
    }

    fn crash(&mut self, at: usize) {
        let fresh = self.boot();
        let dead = std::mem::replace(&mut self.nodes[at], fresh);
        self.ghosts.extend(dead.writes);
    }

    fn ghost(&mut self) {
        if let Some(write) = self.ghosts.pop() {
            let _nobody_waits_for_the_answer = self.bus.publish(&write.messages, self.now);
        }
    }

    /// Faults end: everything is read, written and answered, and time goes by.
    fn come_to_rest(&mut self) {
        while !self.ghosts.is_empty() {
            self.ghost();
        }
        for n in 1..=EDGES {
            self.told.push(Input::Lease { incarnation: edge(n), alive: true });
        }
        for round in 0..400 {
            self.settle();
            for at in 0..self.nodes.len() {
                self.nodes[at].input(Input::Tick, self.now);
                self.settle();
            }
            self.now = self.now.plus(Duration::from_millis(250));
            let repaired: Vec<u64> = self.nodes.iter().map(|node| node.routing.counters().mended).collect();
            if round == 200 {
                self.repaired = Some(repaired);
            } else if let Some(before) = &self.repaired {
                assert_eq!(*before, repaired, "a sweep still finds something");
            }
        }
    }

    /// Everything that is under way arrives.
    fn settle(&mut self) {
        let busy = |walk: &Self, at: usize| {
            let node = &walk.nodes[at];
            node.read < walk.bus.log.len()
                || node.told < walk.told.len()
                || !(node.writes.is_empty()
                    && node.refreshes.is_empty()
                    && node.looks.is_empty()
                    && node.questions.is_empty()
                    && node.answers.is_empty())
        };
        while let Some(at) = (0..self.nodes.len()).find(|at| busy(self, *at)) {
            self.read(at);
            self.carry_out(at);
            self.answer(at);
        }
    }

    fn check(&self) {
        for (at, node) in self.nodes.iter().enumerate() {
            let found = invariants::check(&node.routing);
            assert!(found.is_empty(), "router {at}: {found:#?}");
            assert_eq!(node.routing.stats().writes_in_flight, 0);
        }
    }
}

fn walk(seed: u64, nodes: usize, crashes: bool) {
    let mut walk = Walk::new(seed, nodes, crashes);
    for _ in 0..STEPS {
        walk.step();
    }
    walk.come_to_rest();
    walk.check();
}

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SIM_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("SIM_WALKS").unwrap_or(WALKS)).collect(),
    }
}

fn walk_all(nodes: usize, crashes: bool) {
    for seed in seeds() {
        let outcome = std::panic::catch_unwind(|| walk(seed, nodes, crashes));
        if let Err(panic) = outcome {
            println!("repeat with SIM_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn one_router_with_late_answers_keeps_every_invariant_and_the_order_of_queues() {
    walk_all(1, false);
}

#[test]
fn one_router_that_crashes_keeps_every_invariant() {
    walk_all(1, true);
}

#[test]
fn three_active_routers_keep_every_invariant() {
    walk_all(3, true);
}
