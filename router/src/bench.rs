//! How fast the core alone decides: full queues, busy agents, and one who is freed after the other.

use std::time::{Duration, Instant};

use bus_schema::{
    AgentId, Author, Body, ConversationId, Epoch, Event, EventId, GroupId, IncarnationId, Lane, Shard,
    Subject, TenantId, ThreadId, Timestamp, Visibility, VisitorId,
    claims::Role,
    command::{Actor, Command, PresenceReport},
    config::{AgentRecord, GroupRecord, Member, Record},
    event::Started,
    state::{CloseReason, Extra, LifeState, RoutingStatus, StartSource, ThreadStatus},
};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    alone::Alone,
    routing::{Input, Message, Settings},
};

const TENANT: TenantId = TenantId::from_uuid(Uuid::from_u128(1));
const EDGE: IncarnationId = IncarnationId::NIL;
/// Conversations of one agent.
const CAPACITY: u32 = 5;
/// Virtual time between two decisions.
const STEP: Duration = Duration::from_millis(1);

/// How large a tenant, and how long to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub agents: usize,
    pub groups: usize,
    /// Threads that wait all the time.
    pub queued: usize,
    pub decisions: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    pub agents: usize,
    pub groups: usize,
    pub queued: usize,
    pub decisions: usize,
    pub per_second: f64,
    pub microseconds_each: f64,
    /// The same with the start before and the close that freed the agent.
    pub cycle_microseconds: f64,
}

struct World {
    alone: Alone,
    size: Size,
    started: u128,
    /// Threads that somebody has, oldest first.
    active: std::collections::VecDeque<ConversationId>,
}

/// The size that the aim is stated for, and ten times as many agents, and threads.
pub const SIZES: [Size; 3] = {
    let aim = Size { agents: 1_000, groups: 50, queued: 10_000, decisions: 20_000 };
    [aim, Size { agents: aim.agents * 10, ..aim }, Size { queued: aim.queued * 10, ..aim }]
};

/// Fills a tenant, and frees one agent after the other: each time the queue's head goes to them. What counts is the
/// time from a freed agent's state to the decision on what they get, with its reasons.
pub fn run(size: Size) -> Figures {
    let mut world = World::new(size);
    let (mut cycles, mut decisions) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..size.decisions {
        let (cycle, decision) = world.cycle();
        cycles += cycle;
        decisions += decision;
    }
    let each = decisions.as_secs_f64() / size.decisions as f64;
    Figures {
        agents: size.agents,
        groups: size.groups,
        queued: size.queued,
        decisions: size.decisions,
        per_second: 1.0 / each,
        microseconds_each: each * 1e6,
        cycle_microseconds: cycles.as_secs_f64() / size.decisions as f64 * 1e6,
    }
}

/// Figures for people.
pub fn table(figures: &[Figures]) -> String {
    let head = format!(
        "{:>8} {:>7} {:>8} {:>13} {:>12} {:>22}",
        "agents", "groups", "queued", "decisions/s", "µs each", "start+close+decision"
    );
    let row = |of: &Figures| {
        format!(
            "\n{:>8} {:>7} {:>8} {:>13.0} {:>12.2} {:>19.2} µs",
            of.agents, of.groups, of.queued, of.per_second, of.microseconds_each, of.cycle_microseconds
        )
    };
    std::iter::once(head).chain(figures.iter().map(row)).collect()
}

impl World {
    fn new(size: Size) -> Self {
        let settings = Settings {
            shard: Shard(0),
            epoch: Epoch::NIL,
            incarnation: IncarnationId::NIL,
            agent_grace: Duration::from_secs(20),
            open_max: None,
        };
        let alone = Alone::new(settings, Timestamp::from_millis(1_000_000_000));
        let mut world = Self { alone, size, started: 0, active: std::collections::VecDeque::new() };
        world.quiet(Input::Lease { incarnation: EDGE, alive: true });
        for n in 0..size.agents {
            world.quiet(Input::Config(Record::Agent(AgentRecord::new(TENANT, agent(n), CAPACITY))));
        }
        for n in 0..size.groups {
            world.quiet(Input::Config(Record::Group(group_record(n, size))));
        }
        for n in 0..size.agents {
            world.comes(agent(n));
        }
        // Everyone is full, and as many wait.
        for _ in 0..size.agents * CAPACITY as usize + size.queued {
            world.start();
        }
        world
    }

    fn quiet(&mut self, input: Input) {
        self.alone.input(input, &mut |_, _| {});
    }

    fn comes(&mut self, id: AgentId) {
        let report = vec![PresenceReport { agent_id: id, rev: 1, connections: 1 }];
        let presence = Command::Presence { incarnation: EDGE, agents: report };
        let accept = Command::SetStatus { agent_id: id, status: RoutingStatus::Accepting };
        self.alone.command(TENANT, Actor::SYSTEM, presence, &mut |_, _| {});
        self.alone.command(TENANT, Actor::agent(id, Role::Agent), accept, &mut |_, _| {});
    }

    fn start(&mut self) {
        let n = self.started;
        self.started += 1;
        let group = group(usize::try_from(n).unwrap_or(0) % self.size.groups);
        let (subject, event) = started(n, group, self.alone.now);
        let active = &mut self.active;
        self.alone.log(subject, event, &mut |message, _| active.extend(given(message)));
    }

    /// A thread starts behind the others, another one is closed, and the freed agent gets the head of the queue. Gives
    /// the time of all of it, and of the decision.
    fn cycle(&mut self) -> (Duration, Duration) {
        self.alone.now = self.alone.now.plus(STEP);
        let began = Instant::now();
        self.start();
        let Some(conversation_id) = self.active.pop_front() else { return Default::default() };
        let close = Command::Close { conversation_id, thread_id: None, reason: CloseReason::Resolved };
        let active = &mut self.active;
        // Both the close and what follows from it come out of one call; the first is told by its kind.
        let (mut closed, mut decided) = (None, None);
        self.alone.command(TENANT, Actor::SYSTEM, close, &mut |message, _| {
            active.extend(given(message));
            match &message.event.body {
                Body::Closed(_) => closed = Some(Instant::now()),
                Body::Decided(_) => decided = Some(Instant::now()),
                _ => {}
            }
        });
        let decision = decided.zip(closed).map(|(decided, closed)| decided - closed).unwrap_or_default();
        (began.elapsed(), decision)
    }
}

fn given(message: &Message) -> Option<ConversationId> {
    match &message.event.body {
        Body::Assigned(_) => message.event.conversation_id,
        _ => None,
    }
}

fn agent(n: usize) -> AgentId {
    AgentId::from_uuid(Uuid::from_u128(0xA000_0000 + n as u128))
}

fn group(n: usize) -> GroupId {
    GroupId::from_uuid(Uuid::from_u128(0x6000_0000 + n as u128))
}

/// Every agent is a member of one group.
fn group_record(n: usize, size: Size) -> GroupRecord {
    let of_group = (0..size.agents).filter(|agent| agent % size.groups == n);
    let members = of_group.map(|n| Member::normal(agent(n))).collect();
    GroupRecord { members, revision: 2, ..GroupRecord::new(TENANT, group(n)) }
}

fn started(n: u128, group: GroupId, at: Timestamp) -> (Subject, Event) {
    let (thread, visitor) =
        (ThreadId::from_uuid(Uuid::from_u128(n)), VisitorId::from_uuid(Uuid::from_u128(n)));
    let conversation = ConversationId::from_uuid(Uuid::from_u128(n));
    let state = LifeState {
        thread_id: thread,
        status: ThreadStatus::Queued,
        group_id: Some(group),
        assignee_id: None,
        participants: Vec::new(),
        started_at: at,
        started_seq: None,
        visitor_id: visitor,
        widget_id: None,
        previous_thread_id: None,
        continues: false,
        extra: Extra::new(),
    };
    let start = Started { group_id: Some(group), widget_id: None, source: StartSource::Widget, state };
    let event = Event {
        id: EventId::from_uuid(thread.uuid()),
        cause: None,
        tenant_id: TENANT,
        conversation_id: Some(conversation),
        thread_id: Some(thread),
        author: Author::visitor(visitor),
        client_id: None,
        visibility: Visibility::All,
        body: Body::Started(start),
    };
    (Subject::Conversation { shard: Shard(0), tenant: TENANT, conversation, lane: Lane::Life }, event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_freed_agent_gets_the_next_and_as_many_wait_as_before() {
        let size = Size { agents: 20, groups: 4, queued: 40, decisions: 100 };
        let mut world = World::new(size);
        for _ in 0..size.decisions {
            let (cycle, decision) = world.cycle();
            assert!(!decision.is_zero() && decision <= cycle);
        }
        let stats = world.alone.routing.stats();
        assert_eq!((stats.queued, stats.slots_free), (40, 0));
        assert_eq!(stats.open, 20 * u64::from(CAPACITY) + 40);
    }
}
