//! A router's process: its core, its shell's steps, and what it reads of the log, the configuration and the leases.

use std::collections::{BTreeMap, BTreeSet};

use bus_schema::{
    ConversationId, IncarnationId, TenantId, Timestamp,
    command::{CommandRequest, Outcome},
    stream::LEASE_REFRESH_MS,
};
use uuid::Uuid;

use super::{
    LeaseKey, World,
    agenda::To,
    net::Reply,
    server::is_beside,
    setting::{GRACE, ROUTERS},
    shell::Flight,
};
use crate::{
    routing::{self, Input, Routing, Settings, Token, WriteId, invariants},
    sim::{bugs::Bug, bus::Kept, names, tamper},
    steps::{Change, Edges, Holder, Holding, LeaseAsk, LeaseNext, Role, Source, Turn, Wrote},
};

const TICK_MS: u64 = 250;
/// Where nothing is due it is looked less often.
const IDLE_TICK_MS: i64 = 1_000;
const LIST_EVERY_MS: u64 = 3_000;
const READ_WAIT_MS: u64 = 3_000;

pub struct Router {
    /// Grows with each start; nothing that was meant for an earlier run reaches a later one.
    pub run: u32,
    pub up: bool,
    pub linked: bool,
    pub paused_until: i64,
    ticked_at: i64,
    /// Nothing of the log is read before.
    pub lags_until: i64,
    /// Ahead of the bus's clock.
    pub ahead_ms: i64,
    pub core: Routing,
    pub turn: Turn,
    pub edges: Edges,
    pub holding: Holding,
    /// Up to where the log was read.
    pub read: u64,
    following: bool,
    delivering: bool,
    more: bool,
    /// How much of the configuration was read.
    pub told: usize,
    pub flights: BTreeMap<WriteId, Flight>,
    pub asked: BTreeMap<u64, (CommandRequest, Reply<Outcome>)>,
    next_token: u64,
    /// Where the log ended when it was last asked what was said in a conversation.
    pub looked: BTreeMap<ConversationId, u64>,
    /// Reads from the leader that are under way.
    pub reading: Vec<routing_key::Key>,
    /// What failed is left alone for a while: until then, by the core's time.
    pub resting: BTreeMap<routing_key::Key, i64>,
}

/// What a core locks as one.
pub mod routing_key {
    use bus_schema::{AgentId, ConversationId, Subject};

    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Key {
        Agent(AgentId),
        Conversation(ConversationId),
    }

    pub fn of(subject: Subject) -> Option<Key> {
        match subject {
            Subject::Agent { agent, .. } => Some(Key::Agent(agent)),
            Subject::Conversation { conversation, .. } => Some(Key::Conversation(conversation)),
            Subject::Visitor { .. } => None,
        }
    }
}

impl Router {
    fn new(n: usize, run: u32, settings: Settings) -> Self {
        let me = Holder { incarnation: settings.incarnation, place: format!("place {n}") };
        Self {
            run,
            up: true,
            linked: true,
            paused_until: 0,
            ticked_at: 0,
            lags_until: 0,
            ahead_ms: 0,
            core: Routing::new(settings),
            turn: Turn::default(),
            edges: Edges::default(),
            holding: Holding::new(me),
            read: 0,
            following: false,
            delivering: false,
            more: false,
            told: 0,
            flights: BTreeMap::new(),
            asked: BTreeMap::new(),
            next_token: 0,
            looked: BTreeMap::new(),
            reading: Vec::new(),
            resting: BTreeMap::new(),
        }
    }

    /// It has a write under way that touches this, or has left it alone after one.
    pub fn minds(&self, key: routing_key::Key) -> bool {
        let now = self.core.now().millis();
        self.reading.contains(&key)
            || self.resting.get(&key).is_some_and(|until| *until > now)
            || self.flights.values().any(|flight| {
                flight.write.messages.iter().any(|message| routing_key::of(message.subject) == Some(key))
            })
    }
}

impl World {
    pub fn begin_routers(&mut self) {
        for n in 0..ROUTERS {
            let settings = self.settings();
            self.routers.push(Router::new(n, 0, settings));
            self.boot(n);
        }
    }

    fn settings(&mut self) -> Settings {
        let incarnation = IncarnationId::from_uuid(Uuid::from_u128(self.draw_id()));
        let settings = Settings { incarnation, agent_grace: GRACE, ..names::settings(0) };
        tamper::settings(self.plan.bug, settings)
    }

    /// The process is gone at once; what it sent is on its way.
    pub fn crash_router(&mut self, n: usize, back_in: u64) {
        if !self.routers[n].up {
            return;
        }
        (self.routers[n].up, self.routers[n].turn) = (false, Turn::default());
        self.routers[n].run += 1;
        self.after(back_in, To::World, "a router starts", move |world| world.restart(n));
    }

    pub fn restart(&mut self, n: usize) {
        if self.routers[n].up {
            return;
        }
        let settings = self.settings();
        let (run, ahead_ms) = (self.routers[n].run + 1, self.routers[n].ahead_ms);
        self.routers[n] = Router { ahead_ms, ..Router::new(n, run, settings) };
        self.boot(n);
    }

    fn boot(&mut self, n: usize) {
        let to = self.to(n);
        let (log, config) = (self.random.between(1, 100), self.random.between(1, 100));
        self.after(log, to, "reads the log", move |world| world.read_log(n));
        self.after(config, to, "reads the configuration", move |world| world.read_config(n));
        let first = self.random.between(0, 50);
        self.after(first, to, "lists the leases", move |world| world.list_leases(n));
        self.after(first, to, "wants the lease", move |world| world.want_lease(n));
        self.after(TICK_MS, to, "ticks", move |world| world.tick(n));
    }

    pub fn to(&self, n: usize) -> To {
        To::Router(n, self.routers[n].run)
    }

    /// What its clock says.
    pub fn clock_of(&self, n: usize) -> Timestamp {
        Timestamp::from_millis(self.now + self.routers[n].ahead_ms)
    }

    pub fn tell(&mut self, n: usize, input: Input) {
        if matches!(
            input,
            Input::Lease { .. } | Input::BusDown | Input::BusWorks | Input::Activate | Input::StandBy
        ) {
            self.note(|| format!("router {n} hears {input:?}"));
        }
        let now = self.clock_of(n);
        self.routers[n].core.handle(input, now);
        while let Some(effect) = self.routers[n].core.poll_effect() {
            self.begin_effect(n, effect);
        }
        if self.routers[n].core.has_more() && !std::mem::replace(&mut self.routers[n].more, true) {
            let to = self.to(n);
            self.after(0, to, "goes on", move |world| {
                world.routers[n].more = false;
                world.tell(n, Input::Tick);
            });
        }
    }

    fn tick(&mut self, n: usize) {
        let router = &self.routers[n];
        let now = self.clock_of(n).max(router.core.now());
        let due = router.core.poll_timeout().is_some_and(|at| at <= now);
        if due || self.now - router.ticked_at >= IDLE_TICK_MS {
            self.routers[n].ticked_at = self.now;
            self.tell(n, Input::Tick);
            if let Some(what) = invariants::check_decided(&self.routers[n].core).pop() {
                self.violate("no-idle-queue", format!("router {n}: {what}"));
            }
        } else {
            self.idle = true;
        }
        let to = self.to(n);
        self.after(TICK_MS, to, "ticks", move |world| world.tick(n));
    }

    /// The last message of each subject, then everything new.
    fn read_log(&mut self, n: usize) {
        if !self.bus_up || !self.routers[n].linked {
            let to = self.to(n);
            return self.after(300, to, "reads the log", move |world| world.read_log(n));
        }
        let end = self.stream.log().len() as u64;
        for seq in self.stream.last_of_each() {
            self.hear(n, seq);
        }
        (self.routers[n].read, self.routers[n].following) = (end, true);
        self.whole(n, Source::Log);
        self.deliver_soon(n);
    }

    fn hear(&mut self, n: usize, seq: u64) {
        let Some(stored) = self.stream.get(seq).filter(|stored| !is_beside(stored.subject)) else { return };
        let stored = core_stored(stored);
        if self.plan.bug == Some(Bug::AgentUnheard) && tamper::accepts(&stored) {
            return;
        }
        let stored = tamper::heard(self.plan.bug, stored);
        self.tell(n, Input::Log(stored));
    }

    pub fn deliver_soon(&mut self, n: usize) {
        let router = &self.routers[n];
        let behind = router.read < self.stream.log().len() as u64;
        if !(router.up && router.following && router.linked && behind && self.bus_up) || router.delivering {
            return;
        }
        let lag = if self.calm { 1 } else { self.random.between(0, 12) };
        let lag = lag.max(u64::try_from(router.lags_until - self.now).unwrap_or(0));
        self.routers[n].delivering = true;
        let to = self.to(n);
        self.after(lag, to, "hears of the log", move |world| world.deliver(n));
    }

    fn deliver(&mut self, n: usize) {
        self.routers[n].delivering = false;
        if !self.routers[n].linked || !self.bus_up {
            return;
        }
        // Now and then something comes once more.
        if !self.calm && self.random.chance(60) && self.routers[n].read > 0 {
            let back = self.random.between(0, self.routers[n].read.min(40));
            self.hear(n, self.routers[n].read - back);
        }
        for _ in 0..self.random.between(1, 10) {
            let seq = self.routers[n].read + 1;
            if self.stream.get(seq).is_none() {
                break;
            }
            self.routers[n].read = seq;
            if self.plan.bug == Some(Bug::GapUnseen) && self.random.chance(30) {
                continue;
            }
            self.hear(n, seq);
        }
        self.deliver_soon(n);
    }

    fn read_config(&mut self, n: usize) {
        self.tell_config(n);
        self.whole(n, Source::Config);
    }

    pub fn tell_config_soon(&mut self, n: usize) {
        if self.routers[n].turn.is_whole(Source::Config) {
            let (to, lag) = (self.to(n), self.random.between(1, 300));
            self.after(lag, to, "hears of the configuration", move |world| world.tell_config(n));
        }
    }

    fn tell_config(&mut self, n: usize) {
        while let Some(record) = self.records.get(self.routers[n].told).cloned() {
            self.routers[n].told += 1;
            let record = tamper::config(self.plan.bug, record);
            self.tell(n, Input::Config(record));
        }
    }

    fn list_leases(&mut self, n: usize) {
        let to = self.to(n);
        self.after(LIST_EVERY_MS, to, "lists the leases", move |world| world.list_leases(n));
        let ask = |world: &mut World, reply| {
            world.read(reply, |world| {
                let at = world.at();
                let keys = world.leases.keys(at).into_iter();
                keys.filter_map(|key| if let LeaseKey::Edge(edge) = key { Some(edge) } else { None })
                    .collect()
            });
        };
        let asked = self.now;
        self.call(to, READ_WAIT_MS, "leases", ask, move |world, listed: Option<BTreeSet<IncarnationId>>| {
            // Who was paused meanwhile holds an old list.
            let late = world.now - asked >= i64::try_from(READ_WAIT_MS).unwrap_or(i64::MAX);
            let listed = listed.filter(|_| !late);
            let listed = match world.plan.bug {
                Some(Bug::OutageTakenForAbsence) => listed.or_else(|| Some(BTreeSet::new())),
                _ => listed,
            };
            let edges = &mut world.routers[n].edges;
            let Some(listed) = listed else {
                let input = edges.unlisted();
                return input.into_iter().for_each(|input| world.tell(n, input));
            };
            for input in edges.listed(listed) {
                let ends = matches!(input, Input::Lease { alive: false, .. });
                if !(ends && world.plan.bug == Some(Bug::DeadEdgeKept)) {
                    world.tell(n, input);
                }
            }
            world.whole(n, Source::Leases);
        });
    }

    fn want_lease(&mut self, n: usize) {
        if !self.setting.lease {
            return self.take_role(n, Role::Active);
        }
        let to = self.to(n);
        self.after(LEASE_REFRESH_MS, to, "wants the lease", move |world| world.want_lease(n));
        let ask = self.routers[n].holding.due();
        self.ask_lease(n, ask);
    }

    fn ask_lease(&mut self, n: usize, ask: LeaseAsk) {
        let to = self.to(n);
        let me = self.routers[n].holding.me().clone();
        let expected = match ask {
            LeaseAsk::Create => None,
            LeaseAsk::Update(revision) => Some(revision),
            LeaseAsk::Look => return self.look_at_lease(n),
        };
        let write = move |world: &mut World, reply| {
            if world.bus_up {
                let at = world.at();
                let (key, lives) = (LeaseKey::Router, World::lease_lives());
                let kept = world.leases.swap(key, Some(me), expected, lives, at);
                world.answer(reply, kept);
            }
        };
        self.call(to, READ_WAIT_MS, "the lease", write, move |world, kept: Option<Kept>| {
            let wrote = match kept {
                Some(Kept::Done(revision)) => Wrote::Done(revision),
                Some(Kept::Mismatch) => Wrote::Mismatch,
                None => Wrote::Failed,
            };
            let next = world.routers[n].holding.wrote(wrote);
            world.lease_next(n, next);
        });
    }

    fn look_at_lease(&mut self, n: usize) {
        let ask = |world: &mut World, reply| {
            world.read(reply, |world| {
                let at = world.at();
                world.leases.get(&LeaseKey::Router, at).map(|entry| (entry.revision, entry.value.clone()))
            });
        };
        let to = self.to(n);
        self.call(to, READ_WAIT_MS, "who has the lease", ask, move |world, entry| {
            let holding = &mut world.routers[n].holding;
            let next = match entry {
                Some(entry) => holding.looked(entry),
                None => holding.wrote(Wrote::Failed),
            };
            world.lease_next(n, next);
        });
    }

    fn lease_next(&mut self, n: usize, next: LeaseNext) {
        match next {
            LeaseNext::Ask(ask) => self.ask_lease(n, ask),
            LeaseNext::Rest(Some(role)) => self.take_role(n, role),
            LeaseNext::Rest(None) => {}
        }
    }

    fn whole(&mut self, n: usize, source: Source) {
        let change = self.routers[n].turn.whole(source);
        self.take_turn(n, change);
    }

    fn take_role(&mut self, n: usize, role: Role) {
        let change = self.routers[n].turn.role(role);
        self.take_turn(n, change);
    }

    fn take_turn(&mut self, n: usize, change: Option<Change>) {
        match change {
            Some(Change::Begin) => self.tell(n, Input::Activate),
            Some(Change::End) => self.tell(n, Input::StandBy),
            None => {}
        }
    }

    /// A command reaches a router.
    pub fn take_command(
        &mut self,
        n: usize,
        tenant: TenantId,
        request: CommandRequest,
        reply: Reply<Outcome>,
    ) {
        let router = &mut self.routers[n];
        router.next_token += 1;
        let token = router.next_token;
        router.asked.insert(token, (request.clone(), reply));
        let tenant = match request.command.thread() {
            Some((about, _)) if self.plan.bug == Some(Bug::WallsDown) => self.tenant(about),
            _ => tenant,
        };
        self.tell(n, Input::Command { token: Token(token), tenant, request });
    }
}

/// A message of the model as a core reads it.
pub fn core_stored(stored: &crate::sim::bus::Stored<std::rc::Rc<super::Payload>>) -> routing::Stored {
    routing::Stored {
        subject: stored.subject,
        seq: stored.seq,
        at: stored.at,
        event: Some(Box::new(stored.payload.event.clone())),
    }
}
