//! Conversations as edges write and read them.

mod older;
mod page;
mod quiet;
mod repeat;
mod start;

use bus_schema::{
    AgentId, Author, Body, ClientId, ConversationId, Epoch, Event, EventId, IncarnationId, Lane, TenantId,
    Visibility, VisitorId,
    event::{Closed, Message, Read},
    state::{CloseReason, LifeState, StartSource, ThreadStatus},
    subject::ConversationSubjects,
};
use ops::{
    chat::{self, Draft, Initial, Start, Started},
    log::{Expect, Log, Write},
};
use uuid::Uuid;

use crate::kit::SHARD;

/// A visitor's conversation.
struct Talk {
    log: Log,
    home: ConversationSubjects,
    visitor: VisitorId,
    epoch: Epoch,
    said: u64,
}

impl Talk {
    async fn new(log: &Log, visitor: u128) -> Self {
        let visitor = VisitorId::from_uuid(Uuid::from_u128(visitor));
        let tenant = TenantId::NIL;
        let conversation = ConversationId::of(tenant, visitor);
        let home = ConversationSubjects { shard: SHARD, tenant, conversation };
        Self { log: log.clone(), home, visitor, epoch: log.epoch().await.unwrap(), said: 0 }
    }

    async fn start(&self, client_id: Option<&str>) -> Started {
        let body = Body::Message(Message { text: "Hello".into(), quick_replies: Vec::new() });
        let client_id = client_id.map(|id| ClientId::new(id.to_owned()).unwrap());
        let wanted = Start {
            home: self.home,
            visitor: self.visitor,
            widget_id: None,
            group_id: None,
            profile: Default::default(),
            initial: Some(Initial { client_id, body }),
            source: StartSource::Widget,
            epoch: self.epoch,
            writer: IncarnationId::from_uuid(Uuid::now_v7()),
        };
        chat::start(&self.log, &wanted).await.unwrap()
    }

    async fn say(&mut self) -> u64 {
        self.said += 1;
        let draft = Draft {
            home: self.home,
            author: Author::visitor(self.visitor),
            client_id: ClientId::new(format!("m-{}", self.said)).unwrap(),
            visibility: Visibility::All,
            body: Body::Message(Message { text: self.said.to_string(), quick_replies: Vec::new() }),
            thread: None,
            retry: false,
            cause: None,
        };
        chat::send(&self.log, &draft, None, |_| Ok(())).await.unwrap().seq
    }

    /// The agent has read so far.
    async fn read(&self, agent: AgentId, up_to_seq: u64) {
        self.mark(Author::agent(agent), Body::Read(Read { up_to_seq })).await;
    }

    async fn mark(&self, author: Author, body: Body) {
        let event = Event { author, ..self.event(body) };
        let write = Write::new(self.home.lane(Lane::Mark).to_string(), event.encode());
        self.log.publish(write).await.unwrap();
    }

    /// Something of a newer neighbour's.
    async fn put(&self, lane: Lane) {
        let write = Write::new(self.home.lane(lane).to_string(), r#"{"kind":"newer"}"#);
        self.log.publish(write).await.unwrap();
    }

    async fn close(&self) -> u64 {
        let life = chat::life(&self.log, self.home).await.unwrap().unwrap();
        let state = LifeState { status: ThreadStatus::Closed, assignee_id: None, ..life.state };
        let body = Body::Closed(Closed { by: Author::SYSTEM, reason: CloseReason::Resolved, state });
        let write = Write::new(self.home.lane(Lane::Life).to_string(), self.event(body).encode());
        self.log.publish(write.expect(Expect::LastOnSubject(life.seq))).await.unwrap().seq
    }

    fn event(&self, body: Body) -> Event {
        Event {
            id: EventId::from_uuid(Uuid::now_v7()),
            cause: None,
            tenant_id: self.home.tenant,
            conversation_id: Some(self.home.conversation),
            thread_id: None,
            author: Author::SYSTEM,
            client_id: None,
            visibility: Visibility::All,
            body,
        }
    }
}
