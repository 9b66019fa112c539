//! Conversations as edges and routers write them, for the tests that read them over HTTP.

use std::time::Duration;

use bus_schema::{
    AgentId, Author, Body, ClientId, ConversationId, Epoch, ErrorCode, Event, EventId, GroupId,
    IncarnationId, Lane, Shard, TenantId, ThreadId, Visibility, VisitorId,
    event::{self, Message},
    state::{CloseReason, LifeState, StartSource, ThreadStatus},
    subject::ConversationSubjects,
};
use ops::{
    chat::{self, Draft, Initial, Start},
    log::{Expect, Log, Write},
    service::{Context, Service},
    settings::{Settings, names},
    testing::wait_for,
};
use uuid::Uuid;

use crate::world::{Person, World};

/// A visitor with an open thread.
pub struct Chat {
    pub log: Log,
    pub home: ConversationSubjects,
    pub visitor: VisitorId,
    pub state: LifeState,
    pub seq: u64,
}

/// A persister on the world's bus and database.
pub async fn persister(world: &World) -> Context {
    let anybody = world.anybody();
    let pairs = [
        (names::NATS_URL, world.nats_url.as_str()),
        (names::NATS_CREDS_FILE, &anybody),
        (names::DATABASE_URL, &world.database_url),
    ];
    let context = Context::new(Settings::from_pairs(Service::Persister, &pairs).unwrap());
    let running = persister::run(context.clone());
    tokio::spawn(async move { running.await.unwrap() });
    wait_for(Duration::from_secs(20), "the persister to be ready", async || {
        let report = context.health.report();
        if report.is_ready() && !report.checks.is_empty() { Ok(()) } else { Err(report.text()) }
    })
    .await;
    context
}

fn message(text: &str) -> Body {
    Body::Message(Message { text: text.to_owned(), quick_replies: Vec::new() })
}

impl Chat {
    /// A visitor says something; the thread waits in the group.
    pub async fn start(log: &Log, tenant: &str, group: Option<&str>, text: &str) -> Self {
        let tenant: TenantId = tenant.parse().unwrap();
        let visitor = VisitorId::from_key(tenant, Uuid::now_v7().as_bytes());
        Self::start_of(log, (tenant, visitor), group, text).await
    }

    /// The same visitor begins anew.
    pub async fn again(&self, group: &str, text: &str) -> Self {
        Self::start_of(&self.log, (self.home.tenant, self.visitor), Some(group), text).await
    }

    async fn start_of(
        log: &Log,
        (tenant, visitor): (TenantId, VisitorId),
        group: Option<&str>,
        text: &str,
    ) -> Self {
        let conversation = ConversationId::of(tenant, visitor);
        let home = ConversationSubjects { shard: Shard(0), tenant, conversation };
        let wanted = Start {
            home,
            visitor,
            widget_id: None,
            group_id: group.map(|id| id.parse::<GroupId>().unwrap()),
            profile: chat::ProfileChange { name: Some("Vera".to_owned()), ..Default::default() },
            initial: Some(Initial { client_id: None, body: message(text) }),
            source: StartSource::Widget,
            epoch: log.epoch().await.unwrap_or(Epoch::NIL),
            writer: IncarnationId::from_uuid(Uuid::now_v7()),
        };
        // What was made over HTTP just now reaches the bus a moment later.
        let started = wait_for(Duration::from_secs(20), "the group to be on the bus", async || {
            match chat::start(log, &wanted).await {
                Err(error) if error.code == ErrorCode::NotFound => Err(error.message),
                started => Ok(started.unwrap()),
            }
        })
        .await;
        let seq = started.initial.as_ref().map_or(started.life.seq, |sent| sent.seq);
        Self { log: log.clone(), home, visitor, state: started.life.state, seq }
    }

    pub fn id(&self) -> String {
        self.home.conversation.to_string()
    }

    pub fn thread(&self) -> String {
        self.state.thread_id.to_string()
    }

    /// As the router would: the agent has it.
    pub async fn assigned(&mut self, agent: &Person) {
        let agent: AgentId = agent.id.parse().unwrap();
        let state = LifeState {
            status: ThreadStatus::Active,
            assignee_id: Some(agent),
            participants: vec![agent],
            ..self.state.clone()
        };
        let body = event::Assigned { agent_id: agent, group_id: state.group_id, state: state.clone() };
        self.life(Body::Assigned(body), state).await;
    }

    /// As the router would: it is over.
    pub async fn closed(&mut self) {
        let state = LifeState { status: ThreadStatus::Closed, assignee_id: None, ..self.state.clone() };
        let body = event::Closed { by: Author::SYSTEM, reason: CloseReason::Resolved, state: state.clone() };
        self.life(Body::Closed(body), state).await;
    }

    async fn life(&mut self, body: Body, state: LifeState) {
        let life = chat::life(&self.log, self.home).await.unwrap().unwrap();
        let event = Event {
            id: EventId::from_uuid(Uuid::now_v7()),
            cause: None,
            tenant_id: self.home.tenant,
            conversation_id: Some(self.home.conversation),
            thread_id: Some(state.thread_id),
            author: Author::SYSTEM,
            client_id: None,
            visibility: Visibility::All,
            body,
        };
        let subject = self.home.lane(Lane::Life).to_string();
        let write = Write::new(subject, event.encode()).expect(Expect::LastOnSubject(life.seq));
        self.seq = self.log.publish(write).await.unwrap().seq;
        self.state = LifeState { started_seq: life.state.started_seq, ..state };
    }

    /// The visitor says more.
    pub async fn says(&mut self, text: &str) {
        let draft = Draft {
            home: self.home,
            author: Author::visitor(self.visitor),
            client_id: ClientId::new(Uuid::now_v7().simple().to_string()).unwrap(),
            visibility: Visibility::All,
            body: message(text),
            thread: None::<ThreadId>,
            retry: false,
            cause: None,
        };
        self.seq = chat::send(&self.log, &draft, None, |_| Ok(())).await.unwrap().seq;
    }
}
