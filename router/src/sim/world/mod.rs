//! One simulated world: a bus, three routers, edges, people, and what goes wrong.

mod agenda;
mod edges;
mod faults;
mod net;
mod people;
mod rest;
mod router;
mod server;
mod setting;
mod shell;
mod visitors;

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use bus_schema::{
    AgentId, CommandId, ConversationId, IncarnationId, Lane, Subject, TenantId, Timestamp,
    config::{Record, Rules},
    state::{AgentState, LifeState},
};

use uuid::Uuid;

pub use router::routing_key as key;
pub use server::{Origin, Payload};
pub use setting::{GRACE, SKEW_MS};

use super::{
    Plan, Violation,
    bus::{Bucket, Proposal, Stored, Stream},
    check::{Ledger, walls},
    names,
    random::Random,
};
use crate::{
    routing::{Message, Write},
    steps::Holder,
};
use agenda::{Agenda, To};
use edges::Edge;
use net::Reply;
use router::Router;
use server::Ack;
use visitors::Visitor;

/// Who has a lease.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeaseKey {
    Router,
    Edge(bus_schema::IncarnationId),
}

pub struct World {
    plan: Plan,
    setting: setting::Setting,
    random: Random,
    /// Milliseconds of the bus's clock.
    now: i64,
    agenda: Agenda,
    /// The event that ran had nothing to do.
    idle: bool,
    steps: u64,
    stream: Stream<Rc<Payload>>,
    leases: Bucket<LeaseKey, Option<Holder>>,
    proposed: BTreeMap<Proposal, Reply<Ack>>,
    bus_up: bool,
    /// Counts changes of it.
    outage: u64,
    outage_began: i64,
    /// Since when it is up.
    bus_since: i64,
    /// The configuration, in the order in which every router reads it.
    records: Vec<Record>,
    routers: Vec<Router>,
    edges: Vec<Edge>,
    visitors: BTreeMap<u128, Visitor>,
    /// Whose conversation it is.
    numbers: BTreeMap<ConversationId, u128>,
    /// When an agent had no more connections at an edge, by the revision that says so.
    left_at: BTreeMap<(IncarnationId, AgentId, u64), i64>,
    /// When those left whom the log says to be away because an edge said so.
    away_since: BTreeMap<AgentId, i64>,
    /// How often a command was sent.
    tries: BTreeMap<CommandId, u32>,
    /// No more faults, nobody does anything new.
    calm: bool,
    ledger: Ledger,
    /// Writes that a core was told are not stored, and never will be.
    never: BTreeSet<Origin>,
    landed: BTreeSet<Origin>,
    /// Commands that were definitely refused.
    refused: BTreeSet<CommandId>,
    next_id: u128,
    revision: u64,
    violation: Option<Violation>,
}

impl World {
    pub fn new(seed: u64, plan: Plan) -> Self {
        let mut random = Random::new(seed);
        let setting = setting::Setting::draw(&mut random);
        let clocks_are_wild = setting.wild_clocks;
        let mut world = Self {
            plan,
            stream: Stream::new(setting.replicas),
            setting,
            random,
            now: 1_000_000_000_000,
            agenda: Agenda::default(),
            idle: false,
            steps: 0,
            leases: Bucket::new(),
            proposed: BTreeMap::new(),
            bus_up: true,
            outage: 0,
            outage_began: 0,
            bus_since: 0,
            records: Vec::new(),
            routers: Vec::new(),
            edges: Vec::new(),
            visitors: BTreeMap::new(),
            numbers: BTreeMap::new(),
            left_at: BTreeMap::new(),
            away_since: BTreeMap::new(),
            tries: BTreeMap::new(),
            calm: false,
            ledger: Ledger::default(),
            never: BTreeSet::new(),
            landed: BTreeSet::new(),
            refused: BTreeSet::new(),
            next_id: 0x10_0000,
            revision: 0,
            violation: None,
        };
        world.ledger.clocks_are_wild = clocks_are_wild;
        world.numbers = world.setting.visitors().into_iter().map(|n| (names::conversation(n), n)).collect();
        world.configure_all();
        world.begin_routers();
        world.begin_edges();
        world.begin_people();
        world.begin_faults();
        world
    }

    /// Runs to the end: `plan.steps` events with faults, then until everything has come to rest.
    pub fn run(mut self) -> (Option<Violation>, Seen) {
        while self.steps < self.plan.steps && self.violation.is_none() {
            self.step();
        }
        if self.violation.is_none() {
            self.come_to_rest();
        }
        let mended = self.routers.iter().map(|router| router.core.counters().mended).sum();
        let seen =
            Seen { steps: self.steps, stored: self.stream.log().len() as u64, mended, until: self.now };
        (self.violation, seen)
    }

    fn step(&mut self) {
        let Some(event) = self.agenda.next() else { return };
        self.now = self.now.max(event.at);
        let resumes = match event.to {
            To::World => None,
            To::Router(n, run) if self.routers[n].run == run => Some(self.routers[n].paused_until),
            To::Edge(n, run) if self.edges[n].run == run => Some(self.edges[n].paused_until),
            // Its process has ended.
            To::Router(..) | To::Edge(..) => return,
        };
        if let Some(resumes) = resumes.filter(|resumes| *resumes > self.now) {
            return self.agenda.postpone(event, resumes);
        }
        self.idle = false;
        let (to, what) = (event.to, event.what);
        (event.act)(self);
        if !self.idle {
            self.steps += 1;
            if self.plan.trace {
                self.note(|| format!("{to:?}: {what}"));
            }
        }
    }

    /// A line of the trace.
    fn note(&self, line: impl FnOnce() -> String) {
        if self.plan.trace {
            #[expect(clippy::print_stdout, reason = "this is what a trace is")]
            {
                println!("{:>9.3} {}", (self.now - 1_000_000_000_000) as f64 / 1000.0, line());
            }
        }
    }

    fn violate(&mut self, invariant: &'static str, what: String) {
        self.note(|| format!("VIOLATED {invariant}: {what}"));
        let at_ms = self.now - 1_000_000_000_000;
        self.violation.get_or_insert(Violation { invariant, what, at_ms, steps: self.steps });
    }

    fn check(&mut self, found: Result<(), (&'static str, String)>) {
        if let Err((invariant, what)) = found {
            self.violate(invariant, what);
        }
    }

    fn draw_id(&mut self) -> u128 {
        self.next_id += 1;
        self.next_id
    }

    /// An id of something that this number's tenant has.
    fn draw_id_of(&mut self, n: u128) -> Uuid {
        let id = self.draw_id();
        names::id(names::of_tenant(names::tenant_number(n), id), 0)
    }

    fn draw_agent(&mut self) -> u128 {
        let agents = self.setting.agents();
        self.random.pick(&agents).copied().unwrap_or_default()
    }

    fn draw_visitor(&mut self) -> u128 {
        let visitors = self.setting.visitors();
        self.random.pick(&visitors).copied().unwrap_or_default()
    }

    /// What is to be told to one tenant names nothing of another.
    fn keep_apart(&mut self, tenant: TenantId, said: &[u8], what: &str) {
        if self.setting.tenants.len() > 1
            && let Some(stranger) = walls::stranger(tenant, said, &self.numbers)
        {
            self.violate("tenant-walls", format!("{what} of {tenant} names {stranger}"));
        }
    }

    /// Messages were stored together.
    fn stored(&mut self, first: u64, last: u64) {
        let batch: Vec<_> = (first..=last).filter_map(|seq| self.stream.get(seq).cloned()).collect();
        for stored in &batch {
            self.note(|| {
                let event = &stored.payload.event;
                let data = String::from_utf8_lossy(&stored.payload.bytes);
                format!("stored {} {} {}: {data}", stored.seq, stored.subject, event.body.name())
            });
            let (tenant, event) = (stored.subject.tenant(), &stored.payload.event);
            if event.tenant_id != tenant {
                self.violate("tenant-walls", format!("{} of {tenant} is of {}", stored.seq, event.tenant_id));
            }
            self.keep_apart(tenant, &stored.payload.bytes, "what is stored");
            if let Some(origin) = stored.payload.origin {
                self.landed.insert(origin);
                if self.never.contains(&origin) {
                    let what =
                        format!("{} was written by {origin:?}, who was told that it never is", stored.seq);
                    self.violate("certain-outcome", what);
                }
            }
            let cause = stored.payload.event.cause.map(CommandId::from_uuid);
            if let Some(command) = cause.filter(|command| self.refused.contains(command)) {
                self.violate("one-outcome", format!("{} is of {command}, which was refused", stored.seq));
            }
        }
        let agents = batch.iter().filter_map(|stored| match stored.subject {
            Subject::Agent { agent, .. } => Some((agent, self.ledger.agent(agent)?.clone())),
            _ => None,
        });
        let before: BTreeMap<AgentId, AgentState> = agents.collect();
        let found = self.ledger.batch(&batch);
        self.check(found);
        for stored in &batch {
            if let Subject::Agent { agent, .. } = stored.subject
                && let Some(before) = before.get(&agent)
            {
                self.note_leaving(stored, before);
            }
        }
        for n in 0..self.routers.len() {
            self.deliver_soon(n);
        }
    }
}

/// What checks look at.
impl World {
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub fn router(&self, n: usize) -> &Router {
        &self.routers[n]
    }

    pub fn records(&self) -> &[Record] {
        &self.records
    }

    pub fn now(&self) -> i64 {
        self.now
    }

    pub fn clock(&self, n: usize) -> Timestamp {
        self.clock_of(n)
    }

    /// A router had read the log up to there.
    pub fn knows(&self, n: usize, seq: u64) -> bool {
        self.routers[n].read >= seq
    }

    /// What a decision expects is so now.
    pub fn is_fresh(&self, write: &Write) -> bool {
        let is = |message: &Message| {
            message.expected.is_none_or(|seq| self.stream.last_seq(message.subject) == seq)
        };
        write.messages.iter().all(is)
    }

    pub fn clocks_are_wild(&self) -> bool {
        self.setting.wild_clocks
    }

    /// What holds for a thread's queue.
    pub fn rules_of(&self, life: &LifeState) -> Option<Rules> {
        Some(self.group(life.group_id?)?.routing.rules(None))
    }

    pub fn tenant(&self, id: ConversationId) -> TenantId {
        names::tenant(self.numbers.get(&id).copied().expect("a conversation of somebody's"))
    }

    /// Where what is said in a conversation is stored.
    pub fn subject(&self, id: ConversationId, lane: Lane) -> Subject {
        names::subject(self.tenant(id), id, lane)
    }

    pub fn messages_after(&self, subject: Subject, seq: u64) -> impl Iterator<Item = &Stored<Rc<Payload>>> {
        self.stream.after(subject, seq)
    }

    /// For how long an edge has been out of reach while the bus worked; none of one that nobody knows any more.
    pub fn edge_away_ms(&self, incarnation: bus_schema::IncarnationId) -> Option<i64> {
        let n = edges::of(&self.edges, incarnation)?;
        Some(if self.is_reachable(n) { 0 } else { self.now - self.edges[n].reachable_at })
    }

    /// When an agent's last connection at an edge ended, of which that revision tells.
    pub fn left_at(&self, edge: IncarnationId, agent: AgentId, rev: u64) -> Option<i64> {
        self.left_at.get(&(edge, agent, rev)).copied()
    }

    /// Since when an agent is away by an edge's word.
    pub fn away_since(&self) -> &BTreeMap<AgentId, i64> {
        &self.away_since
    }

    pub fn away_since_mut(&mut self) -> &mut BTreeMap<AgentId, i64> {
        &mut self.away_since
    }
}

/// What a run saw.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub steps: u64,
    pub stored: u64,
    /// What sweeps put right.
    pub mended: u64,
    pub until: i64,
}
