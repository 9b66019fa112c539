//! A tenant, a visitor, an agent, and what they do, as events of the log.

use bus_schema::{
    AgentId, Author, Body, ClientId, ConversationId, Event, EventId, GroupId, Lane, Subject, TenantId,
    ThreadId, Timestamp, Visibility, VisitorId, event::*, state::*,
};
use uuid::Uuid;

use crate::world::{SHARD, World};

/// One visitor's conversation. Ids follow from `n`, so two stories never meet.
#[derive(Debug, Clone)]
pub struct Story {
    pub tenant: TenantId,
    pub visitor: VisitorId,
    pub conversation: ConversationId,
    pub thread: ThreadId,
    pub agent: AgentId,
    pub group: GroupId,
    said: u32,
}

pub fn uuid(kind: u16, n: u64) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 | u128::from(kind) << 40 | u128::from(n))
}

/// Stores a story's beginning; gives its sequence.
pub async fn start(world: &World, story: &mut Story) -> u64 {
    let started = story.started();
    world.store(story.lane(Lane::Life), &started).await
}

/// Says `n` things; gives the last sequence.
pub async fn tell(world: &World, story: &mut Story, n: u32) -> u64 {
    let mut last = 0;
    for at in 0..n {
        let message = story.message(story.by_visitor(), &format!("message {at}"));
        last = world.store(story.lane(Lane::Msg), &message).await;
    }
    last
}

impl Story {
    pub fn new(n: u64) -> Self {
        let tenant = TenantId::from_uuid(uuid(1, 1));
        let visitor = VisitorId::from_uuid(uuid(2, n));
        Self {
            tenant,
            visitor,
            conversation: ConversationId::of(tenant, visitor),
            thread: ThreadId::from_uuid(uuid(3, n)),
            agent: AgentId::from_uuid(uuid(4, 1)),
            group: GroupId::from_uuid(uuid(5, 1)),
            said: 0,
        }
    }

    pub fn lane(&self, lane: Lane) -> Subject {
        let Self { tenant, conversation, .. } = *self;
        Subject::Conversation { shard: SHARD, tenant, conversation, lane }
    }

    pub fn visitors(&self) -> Subject {
        Subject::Visitor { shard: SHARD, tenant: self.tenant, visitor: self.visitor }
    }

    pub fn agents(&self) -> Subject {
        Subject::Agent { shard: SHARD, tenant: self.tenant, agent: self.agent }
    }

    pub fn by_visitor(&self) -> Author {
        Author::visitor(self.visitor)
    }

    pub fn by_agent(&self) -> Author {
        Author::agent(self.agent)
    }

    /// An event with the next id of this story.
    pub fn event(&mut self, author: Author, body: Body) -> Event {
        self.said += 1;
        let client = format!("c-{}", self.said);
        let in_conversation = body.agent_state().is_none() && body.visitor_record().is_none();
        Event {
            id: EventId::of_send(self.tenant, self.conversation, author.id, &client),
            cause: None,
            tenant_id: self.tenant,
            conversation_id: in_conversation.then_some(self.conversation),
            thread_id: in_conversation.then_some(self.thread),
            author,
            client_id: Some(ClientId::new(client).unwrap()),
            visibility: Visibility::All,
            body,
        }
    }

    pub fn message(&mut self, author: Author, text: &str) -> Event {
        self.event(author, Body::Message(Message { text: text.to_owned(), quick_replies: Vec::new() }))
    }

    pub fn note(&mut self, text: &str) -> Event {
        let mut note = self.message(self.by_agent(), text);
        note.visibility = Visibility::Agents;
        note
    }

    pub fn life(&self, status: ThreadStatus, started: Option<u64>) -> LifeState {
        let assigned = status == ThreadStatus::Active;
        LifeState {
            thread_id: self.thread,
            status,
            group_id: Some(self.group),
            assignee_id: assigned.then_some(self.agent),
            participants: if assigned { vec![self.agent] } else { Vec::new() },
            started_at: Timestamp::from_millis(1_795_222_923_004),
            started_seq: started,
            visitor_id: self.visitor,
            widget_id: None,
            previous_thread_id: None,
            continues: false,
            extra: Extra::new(),
        }
    }

    pub fn started(&mut self) -> Event {
        let state = self.life(ThreadStatus::Queued, None);
        let group_id = Some(self.group);
        let data = Started { group_id, widget_id: None, source: StartSource::Widget, state };
        self.event(self.by_visitor(), Body::Started(data))
    }

    pub fn assigned(&mut self, started: u64) -> Event {
        let state = self.life(ThreadStatus::Active, Some(started));
        let data = Assigned { agent_id: self.agent, group_id: Some(self.group), state };
        self.event(Author::SYSTEM, Body::Assigned(data))
    }

    pub fn closed(&mut self, started: u64) -> Event {
        let state = self.life(ThreadStatus::Closed, Some(started));
        let data = Closed { by: self.by_agent(), reason: CloseReason::Resolved, state };
        self.event(self.by_agent(), Body::Closed(data))
    }

    pub fn record(&self, name: &str) -> VisitorRecord {
        VisitorRecord { name: Some(name.to_owned()), ..VisitorRecord::new(self.visitor) }
    }

    pub fn seen(&mut self, name: &str) -> Event {
        let record = self.record(name);
        let data = VisitorSeen { widget_id: None, external_id: None, verified: false, page: None, record };
        self.event(self.by_visitor(), Body::VisitorSeen(data))
    }

    pub fn erased(&mut self) -> Event {
        let record = VisitorRecord {
            erased_at: Some(Timestamp::from_millis(1_795_222_923_004)),
            ..VisitorRecord::new(self.visitor)
        };
        self.event(self.by_agent(), Body::VisitorErased(VisitorErased { receipt: "r-1".to_owned(), record }))
    }

    pub fn desk(&self, waits: Option<Timestamp>) -> DeskState {
        let queue = waits.map(|since| QueueEntry {
            group_id: Some(self.group),
            since,
            since_seq: 1,
            reason: QueueReason::AllBusy,
        });
        DeskState {
            thread_id: self.thread,
            queue,
            priority: Priority::High,
            skills: Vec::new(),
            skills_waived: false,
            offers: Vec::new(),
            avoid: Vec::new(),
            deadlines: Vec::new(),
            misses: 0,
            last_agent_id: None,
            last_assigned_at: None,
            idle_since: None,
            commands: Vec::new(),
            extra: Extra::new(),
        }
    }

    pub fn decided(&mut self) -> Event {
        let decision = Decision {
            strategy: Some(Strategy::LeastLoaded),
            config_revision: 7,
            candidates: Vec::new(),
            chosen: Some(self.agent),
            rule: DecisionRule::LeastLoaded,
            waiting_since: None,
            took_us: 42,
        };
        let state = self.desk(Some(Timestamp::from_millis(1_795_222_923_004)));
        self.event(Author::SYSTEM, Body::Decided(Decided { decision, state }))
    }

    pub fn load(&mut self, conversations: usize) -> Event {
        let held = Held {
            conversation_id: self.conversation,
            thread_id: self.thread,
            since: Timestamp::from_millis(1_795_222_923_004),
            group_id: None,
            given_away: Default::default(),
        };
        let state = AgentState {
            agent_id: self.agent,
            status: RoutingStatus::Accepting,
            capacity: 5,
            presence: Default::default(),
            conversations: vec![held; conversations],
            last_assigned_at: None,
            offline_since: None,
            left_at: None,
            misses: 0,
            deleted: false,
            commands: Vec::new(),
            extra: Extra::new(),
        };
        self.event(Author::SYSTEM, Body::AgentLoad(AgentLoad { state }))
    }
}
