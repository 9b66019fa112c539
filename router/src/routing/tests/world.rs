//! A small language for scenarios: one router, one model bus, time that moves when told to.

use std::{collections::BTreeMap, time::Duration};

use bus_schema::{
    AgentId, Author, AuthorType, Body, CommandId, ConversationId, GroupId, IncarnationId, Subject, TenantId,
    ThreadId, Timestamp,
    claims::Role,
    command::{Actor, Answer, Command, CommandRequest, Outcome, PresenceReport},
    config::{AgentRecord, GroupRecord, Record, RoutingSettings, TenantRecord},
    event::AgentLostReason,
    state::{
        AgentState, CloseReason, Decision, DeskState, LifeState, Priority, RoutingStatus, Strategy,
        ThreadStatus,
    },
};
use uuid::Uuid;

use super::super::{
    Effect, Heard, Input, Routing, Settings, Token, Told, WriteFailure, invariants, queue::Queue,
    slot::QueueId,
};
use super::bus::Bus;

pub use crate::sim::names::*;

pub struct World {
    pub bus: Bus,
    pub routing: Routing,
    pub now: Timestamp,
    pub replies: BTreeMap<u64, Outcome>,
    /// What was said and not stored, in order.
    pub told: Vec<Told>,
    /// Writes wait in the air instead of being stored.
    pub hold_writes: bool,
    pub held: Vec<super::super::Write>,
    /// How often it was asked what people said.
    pub looks: usize,
    /// How often edges were asked who is there.
    pub questions: usize,
    pub edges_answer: bool,
    /// Questions stay with the edges instead of being answered.
    pub hold_questions: bool,
    asked: Vec<(TenantId, Vec<ConversationId>)>,
    /// Edges that do not answer.
    pub silent: Vec<IncarnationId>,
    /// Visitors without a connection.
    pub away: Vec<u128>,
    /// The newest of the configuration.
    pub revision: u64,
    read: usize,
    next: u128,
    records: BTreeMap<String, Record>,
    leases: Vec<IncarnationId>,
}

impl World {
    pub fn new() -> Self {
        let mut world = Self {
            bus: Bus::strict(),
            routing: Routing::new(settings(0)),
            now: Timestamp::from_millis(1_000_000),
            replies: BTreeMap::new(),
            told: Vec::new(),
            hold_writes: false,
            held: Vec::new(),
            looks: 0,
            questions: 0,
            edges_answer: true,
            hold_questions: false,
            asked: Vec::new(),
            silent: Vec::new(),
            away: Vec::new(),
            read: 0,
            next: 1,
            revision: 0,
            records: BTreeMap::new(),
            leases: Vec::new(),
        };
        world.input(Input::Activate);
        world
    }

    /// One group with these agents, connected and accepting.
    pub fn with_group(strategy: Strategy, capacities: &[u32]) -> Self {
        let mut world = Self::new();
        let agents: Vec<AgentId> = (1..=capacities.len() as u128).map(agent).collect();
        for (id, capacity) in agents.iter().zip(capacities) {
            world.configure_agent(*id, *capacity);
        }
        world.configure_group(1, strategy, &agents);
        world.lease(edge(1), true);
        for id in agents {
            world.connect(id, edge(1), 1);
            world.accept(id);
        }
        world
    }

    pub fn input(&mut self, input: Input) {
        self.routing.handle(input, self.now);
        self.settle();
    }

    /// Does what the core asks for until it asks for nothing more and has read the whole log.
    pub fn settle(&mut self) {
        loop {
            while let Some(effect) = self.routing.poll_effect() {
                self.carry_out(effect);
            }
            if let Some(stored) = self.bus.log.get(self.read).cloned() {
                self.read += 1;
                self.routing.handle(Input::Log(stored), self.now);
                continue;
            }
            return;
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Write(write) if self.hold_writes => self.held.push(write),
            Effect::Write(write) => {
                let input = match self.bus.publish(&write.messages, self.now) {
                    Some(seqs) => Input::Written { id: write.id, seqs },
                    None => Input::WriteFailed { id: write.id, why: WriteFailure::Mismatch },
                };
                self.routing.handle(input, self.now);
            }
            Effect::Reply { token, outcome } => {
                assert!(self.replies.insert(token.0, outcome).is_none(), "one outcome a command");
            }
            Effect::Refresh { subject } => {
                let last = self.bus.last(subject);
                self.routing.handle(Input::Refreshed { subject, last }, self.now);
            }
            Effect::Tell { told, .. } => self.told.push(told),
            Effect::AskEdges { tenant, conversations: asked, .. } => {
                self.questions += 1;
                self.asked.push((tenant, asked));
                if !self.hold_questions {
                    self.answer_questions();
                }
            }
            Effect::Look { tenant, conversation, thread, after } => {
                self.looks += 1;
                let (said, up_to) = self.bus.said(conversation, after);
                let looked = Input::Looked { tenant, conversation, thread, said, up_to, more: false };
                self.routing.handle(looked, self.now);
            }
        }
    }

    /// The edges answer what they were asked, by who is there now.
    pub fn answer_questions(&mut self) {
        for (tenant, asked) in std::mem::take(&mut self.asked) {
            let heard = self.edges_answer.then(|| {
                let away: Vec<_> = self.away.iter().map(|n| conversation(*n)).collect();
                let there = asked.iter().copied().filter(|id| !away.contains(id)).collect();
                let edges = self.leases.iter().copied().filter(|edge| !self.silent.contains(edge)).collect();
                Heard { there, edges }
            });
            self.routing.handle(Input::EdgesSaid { tenant, asked, heard }, self.now);
        }
    }

    /// Stores what was held back.
    pub fn release_writes(&mut self) {
        self.hold_writes = false;
        for write in std::mem::take(&mut self.held) {
            self.carry_out(Effect::Write(write));
        }
        self.settle();
    }

    pub fn wait(&mut self, duration: Duration) {
        let end = self.now.plus(duration);
        while self.now < end {
            self.now = self.now.plus(Duration::from_millis(250));
            self.input(Input::Tick);
        }
    }

    /// A new process in place of this one: everything it knows comes from the log, the configuration and the leases.
    pub fn restart(&mut self) {
        self.next += 1;
        self.restart_with(settings(self.next));
    }

    pub fn restart_with(&mut self, settings: Settings) {
        self.routing = Routing::new(settings);
        self.read = 0;
        for record in self.records.values().cloned().collect::<Vec<_>>() {
            self.routing.handle(Input::Config(record), self.now);
        }
        for edge in self.leases.clone() {
            self.routing.handle(Input::Lease { incarnation: edge, alive: true }, self.now);
        }
        let mut last: BTreeMap<Subject, usize> = BTreeMap::new();
        for (index, stored) in self.bus.log.iter().enumerate() {
            last.insert(stored.subject, index);
        }
        let mut last: Vec<usize> = last.into_values().collect();
        last.sort_unstable();
        for index in last {
            self.routing.handle(Input::Log(self.bus.log[index].clone()), self.now);
        }
        self.read = self.bus.log.len();
        self.input(Input::Activate);
    }

    fn record(&mut self, record: Record) {
        self.records.insert(record.key(), record.clone());
        self.input(Input::Config(record));
    }

    pub fn configure_agent(&mut self, id: AgentId, capacity: u32) {
        self.revision += 1;
        self.record(Record::Agent(agent_record(id, capacity, self.revision)));
    }

    pub fn change_agent(&mut self, id: AgentId, change: impl FnOnce(&mut AgentRecord)) {
        self.revision += 1;
        let Some(Record::Agent(mut record)) = self.records.get(&format!("agent.{TENANT}.{id}")).cloned()
        else {
            panic!("no such agent")
        };
        change(&mut record);
        record.revision = self.revision;
        self.record(Record::Agent(record));
    }

    pub fn configure_tenant(&mut self, routing: RoutingSettings) {
        self.change_tenant(|tenant| tenant.routing = routing);
    }

    pub fn change_tenant(&mut self, change: impl FnOnce(&mut TenantRecord)) {
        self.revision += 1;
        let mut record = tenant_record(self.revision);
        change(&mut record);
        self.record(Record::Tenant(record));
    }

    pub fn delete_agent(&mut self, id: AgentId) {
        self.revision += 1;
        self.record(Record::Agent(AgentRecord { deleted: true, ..agent_record(id, 1, self.revision) }));
    }

    pub fn configure_group(&mut self, n: u128, strategy: Strategy, members: &[AgentId]) {
        self.revision += 1;
        self.record(Record::Group(group_record(group(n), strategy, members, self.revision)));
    }

    pub fn change_group(&mut self, n: u128, change: impl FnOnce(&mut GroupRecord)) {
        self.revision += 1;
        let key = format!("group.{TENANT}.{}", group(n));
        let Some(Record::Group(mut record)) = self.records.get(&key).cloned() else {
            panic!("no such group")
        };
        change(&mut record);
        record.revision = self.revision;
        self.record(Record::Group(record));
    }

    /// What the core keeps of a queue.
    pub fn queue(&mut self, id: QueueId) -> &mut Queue {
        let tenant = self.routing.tenants.get_mut(&TENANT).expect("it has agents");
        tenant.queues.get_mut(&id).expect("somebody waits there")
    }

    pub fn lease(&mut self, edge: IncarnationId, alive: bool) {
        self.leases.retain(|known| *known != edge);
        if alive {
            self.leases.push(edge);
        }
        self.input(Input::Lease { incarnation: edge, alive });
    }

    pub fn command(&mut self, actor: Actor, command: Command) -> Outcome {
        self.next += 1;
        self.repeat(CommandId::from_uuid(Uuid::from_u128(self.next)), actor, command)
    }

    pub fn send(&mut self, actor: Actor, command: Command) -> u64 {
        self.next += 1;
        self.send_as(CommandId::from_uuid(Uuid::from_u128(self.next)), actor, command)
    }

    /// Sends one that is answered later.
    pub fn send_as(&mut self, command_id: CommandId, actor: Actor, command: Command) -> u64 {
        self.next += 1;
        let token = self.next as u64;
        let request = CommandRequest { command_id, actor, deadline: None, command };
        self.input(Input::Command { token: Token(token), tenant: TENANT, request });
        token
    }

    pub fn repeat(&mut self, command_id: CommandId, actor: Actor, command: Command) -> Outcome {
        let token = self.send_as(command_id, actor, command);
        self.replies.remove(&token).expect("answered")
    }

    pub fn report(&mut self, id: AgentId, edge: IncarnationId, rev: u64, connections: u32) -> Outcome {
        let agents = vec![PresenceReport { agent_id: id, rev, connections }];
        self.command(Actor::SYSTEM, Command::Presence { incarnation: edge, agents })
    }

    pub fn connect(&mut self, id: AgentId, edge: IncarnationId, rev: u64) {
        assert_eq!(self.report(id, edge, rev, 1), Outcome::DONE);
    }

    pub fn disconnect(&mut self, id: AgentId, edge: IncarnationId, rev: u64) {
        assert_eq!(self.report(id, edge, rev, 0), Outcome::DONE);
    }

    pub fn set_status(&mut self, id: AgentId, status: RoutingStatus) -> Outcome {
        self.command(Actor::agent(id, Role::Agent), Command::SetStatus { agent_id: id, status })
    }

    pub fn accept(&mut self, id: AgentId) {
        assert_eq!(self.set_status(id, RoutingStatus::Accepting), Outcome::DONE);
    }

    pub fn stop_accepting(&mut self, id: AgentId) {
        assert_eq!(self.set_status(id, RoutingStatus::NotAccepting), Outcome::DONE);
    }

    pub fn start(&mut self, n: u128) -> ThreadId {
        self.start_in(n, Some(group(1)))
    }

    pub fn start_in(&mut self, n: u128, group: Option<GroupId>) -> ThreadId {
        self.next += 1;
        let thread = ThreadId::from_uuid(Uuid::from_u128(0x7_0000 + self.next));
        self.now = self.now.plus(Duration::from_millis(1));
        self.bus.store(life_subject(conversation(n)), started(n, thread, group, self.now), self.now);
        self.settle();
        thread
    }

    /// A message in a conversation, as an edge writes it.
    pub fn say(&mut self, n: u128, author: Author) {
        self.next += 1;
        let event = said(n, self.life(n).thread_id, author, self.next);
        self.bus.store(msg_subject(conversation(n)), event, self.now);
        self.settle();
    }

    pub fn close(&mut self, n: u128, actor: Actor) -> Outcome {
        let reason = CloseReason::Resolved;
        self.command(actor, Command::Close { conversation_id: conversation(n), thread_id: None, reason })
    }

    pub fn take(&mut self, n: u128, id: AgentId, role: Role) -> Outcome {
        let command = Command::Take { conversation_id: conversation(n), thread_id: None };
        self.command(Actor::agent(id, role), command)
    }

    pub fn assign(&mut self, n: u128, to: AgentId, by: Actor) -> Outcome {
        let command = Command::Assign { conversation_id: conversation(n), thread_id: None, agent_id: to };
        self.command(by, command)
    }

    pub fn transfer(
        &mut self,
        n: u128,
        to: (Option<AgentId>, Option<GroupId>),
        queue: bool,
        by: Actor,
    ) -> Outcome {
        let (conversation_id, (agent_id, group_id)) = (conversation(n), to);
        self.command(by, Command::Transfer { conversation_id, thread_id: None, agent_id, group_id, queue })
    }

    pub fn join(&mut self, n: u128, by: Actor) -> Outcome {
        self.command(by, Command::Join { conversation_id: conversation(n), thread_id: None })
    }

    pub fn leave(&mut self, n: u128, by: Actor) -> Outcome {
        self.command(by, Command::Leave { conversation_id: conversation(n), thread_id: None })
    }

    pub fn reopen(&mut self, n: u128, by: Actor) -> Outcome {
        self.command(by, Command::Reopen { conversation_id: conversation(n), thread_id: None })
    }

    pub fn set_priority(&mut self, n: u128, priority: Priority, by: Actor) -> Outcome {
        self.command(by, Command::SetPriority { conversation_id: conversation(n), thread_id: None, priority })
    }

    pub fn set_skills(&mut self, n: u128, skills: &[&str], by: Actor) -> Outcome {
        let skills = skills.iter().map(|skill| (*skill).to_owned()).collect();
        self.command(by, Command::SetSkills { conversation_id: conversation(n), thread_id: None, skills })
    }

    pub fn desk(&self, n: u128) -> &DeskState {
        self.bus.desk(conversation(n)).expect("decided on")
    }

    pub fn life(&self, n: u128) -> &LifeState {
        self.bus.life(conversation(n)).expect("started")
    }

    pub fn assignee(&self, n: u128) -> Option<AgentId> {
        self.life(n).assignee_id
    }

    pub fn state(&self, id: AgentId) -> &AgentState {
        self.bus.agent(id).expect("connected before")
    }

    pub fn load(&self, id: AgentId) -> u32 {
        self.state(id).load()
    }

    /// The last decision about a conversation.
    pub fn decision(&self, n: u128) -> Decision {
        let of = |stored: &super::super::Stored| match &stored.event.as_ref()?.body {
            Body::Decided(decided) if stored.event.as_ref()?.conversation_id == Some(conversation(n)) => {
                Some(decided.decision.clone())
            }
            _ => None,
        };
        self.bus.log.iter().rev().find_map(of).expect("decided")
    }

    /// A visitor comes or goes, and the edge says so.
    pub fn visitor(&mut self, n: u128, came: bool) {
        self.away.retain(|away| *away != n);
        self.away.extend((!came).then_some(n));
        self.input(Input::Visitor { tenant: TENANT, conversation: conversation(n), came });
    }

    /// How many events of this kind were stored.
    pub fn kinds(&self, name: &str) -> usize {
        let events = self.bus.log.iter().filter_map(|stored| stored.event.as_ref());
        events.filter(|event| event.body.name() == name).count()
    }

    fn last_of<T>(&self, n: u128, of: impl Fn(&Body) -> Option<T>) -> Option<T> {
        let of = |stored: &super::super::Stored| {
            let event =
                stored.event.as_ref().filter(|event| event.conversation_id == Some(conversation(n)))?;
            of(&event.body)
        };
        self.bus.log.iter().rev().find_map(of)
    }

    /// Why the last thread was closed, if it was.
    pub fn closed(&self, n: u128) -> Option<CloseReason> {
        let closed = self.life(n).status == ThreadStatus::Closed;
        self.last_of(n, |body| match body {
            Body::Closed(closed) => Some(closed.reason),
            _ => None,
        })
        .filter(|_| closed)
    }

    /// Why an agent was last lost.
    pub fn lost(&self, n: u128) -> Option<AgentLostReason> {
        self.last_of(n, |body| match body {
            Body::AgentLost(lost) => Some(lost.reason),
            _ => None,
        })
    }

    pub fn life_kinds(&self, n: u128) -> Vec<String> {
        let of = self.bus.log.iter().filter(|stored| stored.subject == life_subject(conversation(n)));
        of.filter_map(|stored| Some(stored.event.as_ref()?.body.name().to_owned())).collect()
    }

    pub fn check(&self) {
        assert_eq!(invariants::check(&self.routing), Vec::<String>::new());
    }
}

pub fn code(outcome: &Outcome) -> Option<bus_schema::ErrorCode> {
    match outcome {
        Outcome::Rejected { error } => Some(error.code),
        Outcome::Accepted { .. } => None,
    }
}

pub fn supervisor() -> Actor {
    Actor::agent(agent(900), Role::Supervisor)
}

pub fn listed(outcome: Outcome) -> (Vec<bus_schema::protocol::ConversationView>, Option<String>, u64) {
    match outcome {
        Outcome::Accepted { answer: Answer::Conversations { conversations, next_cursor, total, .. } } => {
            (conversations, next_cursor, total)
        }
        other => panic!("not a list: {other:?}"),
    }
}

pub fn bot() -> Actor {
    Actor { author: Author { kind: AuthorType::Bot, id: Uuid::from_u128(5) }, role: None }
}
