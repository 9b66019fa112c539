//! Open threads that a router finds when it starts, written as one before it would have left them.

use anyhow::Context as _;
use bus_schema::{
    Author, ConversationId, Event, EventId, Lane, Subject, ThreadId, Timestamp, Visibility, VisitorId,
    event::{AgentLoad, Assigned, Body, Decided},
    state::{
        AgentState, Decision, DecisionRule, DeskState, Extra, Held, LifeState, Presence, RoutingStatus,
        ThreadStatus,
    },
};
use futures::{StreamExt as _, stream};
use uuid::Uuid;

use super::{super::own_bus::SHARD, world::World};
use crate::log::Write;

/// Unanswered publishes.
const WINDOW: usize = 512;

/// Writes this many threads, shared among all agents: `life` and `desk` of each, and then the agents.
pub async fn write(world: &World, threads: usize) -> anyhow::Result<()> {
    let mut held: Vec<Vec<Held>> = vec![Vec::new(); world.agents.len()];
    let mut writes = Vec::with_capacity(2 * threads + world.agents.len());
    for n in 0..threads {
        let agent = n % world.agents.len();
        let thread = Thread::new(world, n, agent);
        held[agent].push(Held {
            conversation_id: thread.conversation,
            thread_id: thread.thread,
            group_id: Some(thread.life.group_id.unwrap_or(world.groups[0])),
            since: thread.life.started_at,
            given_away: false,
        });
        writes.extend(thread.writes(world));
    }
    for (agent, held) in world.agents.iter().zip(held) {
        let (shard, tenant) = (SHARD, world.tenant);
        let state = AgentState {
            agent_id: *agent,
            status: RoutingStatus::Accepting,
            capacity: u32::try_from(held.len()).unwrap_or(u32::MAX),
            presence: [(world.edge, Presence { rev: 1, connections: 1 })].into(),
            conversations: held,
            last_assigned_at: None,
            offline_since: None,
            left_at: None,
            misses: 0,
            deleted: false,
            commands: Vec::new(),
            extra: Extra::new(),
        };
        let subject = Subject::Agent { shard, tenant, agent: *agent };
        writes.push(encode(world, subject, None, Body::AgentLoad(AgentLoad { state })));
    }
    let stored = stream::iter(writes).map(|write| world.log().publish(write)).buffered(WINDOW);
    let mut stored = std::pin::pin!(stored);
    while let Some(outcome) = stored.next().await {
        outcome.context("fill the log")?;
    }
    Ok(())
}

struct Thread {
    conversation: ConversationId,
    thread: ThreadId,
    life: LifeState,
}

impl Thread {
    fn new(world: &World, n: usize, agent: usize) -> Self {
        let visitor = VisitorId::from_uuid(Uuid::now_v7());
        let thread = ThreadId::from_uuid(Uuid::now_v7());
        let assignee = world.agents[agent];
        let life = LifeState {
            thread_id: thread,
            status: ThreadStatus::Active,
            group_id: Some(world.groups[n % world.groups.len()]),
            assignee_id: Some(assignee),
            participants: vec![assignee],
            started_at: Timestamp::from_millis(1_795_222_923_004),
            started_seq: Some(1),
            visitor_id: visitor,
            widget_id: None,
            previous_thread_id: None,
            continues: false,
            extra: Extra::new(),
        };
        Self { conversation: ConversationId::of(world.tenant, visitor), thread, life }
    }

    fn writes(self, world: &World) -> [Write; 2] {
        let (shard, tenant, conversation) = (SHARD, world.tenant, self.conversation);
        let on = |lane| Subject::Conversation { shard, tenant, conversation, lane };
        let (agent, at) = (self.life.assignee_id, self.life.started_at);
        let desk = DeskState {
            thread_id: self.thread,
            queue: None,
            priority: Default::default(),
            skills: Vec::new(),
            skills_waived: false,
            offers: Vec::new(),
            avoid: Vec::new(),
            deadlines: Vec::new(),
            misses: 0,
            last_agent_id: agent,
            last_assigned_at: Some(at),
            idle_since: None,
            commands: Vec::new(),
            extra: Extra::new(),
        };
        let decision = Decision {
            strategy: None,
            config_revision: 1,
            candidates: Vec::new(),
            chosen: agent,
            rule: DecisionRule::LeastLoaded,
            waiting_since: None,
            took_us: 1,
        };
        let group_id = self.life.group_id;
        let agent_id = agent.expect("every thread here has an agent");
        let assigned = Body::Assigned(Assigned { agent_id, group_id, state: self.life });
        let decided = Body::Decided(Decided { decision, state: desk });
        let thread = Some((conversation, self.thread));
        [encode(world, on(Lane::Life), thread, assigned), encode(world, on(Lane::Desk), thread, decided)]
    }
}

fn encode(world: &World, subject: Subject, of: Option<(ConversationId, ThreadId)>, body: Body) -> Write {
    let event = Event {
        id: EventId::from_uuid(Uuid::now_v7()),
        cause: None,
        tenant_id: world.tenant,
        conversation_id: of.map(|(conversation, _)| conversation),
        thread_id: of.map(|(_, thread)| thread),
        author: Author::SYSTEM,
        client_id: None,
        visibility: Visibility::All,
        body,
    };
    Write::new(subject.to_string(), event.encode())
}
