//! A bus of a test's own, routers on it, and an edge that is only as much of one as routing needs.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use bus_schema::{
    AgentId, Author, Body, ConversationId, Event, EventId, GroupId, IncarnationId, Lane, Shard, Subject,
    TenantId, ThreadId, Timestamp, Visibility, VisitorId,
    claims::Role,
    command::{Actor, Answer, Command, PresenceReport},
    config::{AgentRecord, GroupRecord, Member, Record, RoutingSettings},
    event::Started,
    signal::TenantSignal,
    state::{AgentState, Extra, LifeState, RoutingStatus, StartSource, Strategy, ThreadStatus},
    stream::{self, LEASE_TTL_MS, edge_lease},
    subject::{stored_in_shard, who_of_shard},
};
use futures::StreamExt as _;
use ops::{
    chat,
    invariants::{self, Logged, Report},
    kv::Kv,
    log::{DeliverFrom, Expect, Log, Write},
    nats::{self, Bus},
    provision::{self, Plan},
    service::{Context, Service},
    settings::Settings,
    testing::{NatsServer, Process, wait_for},
};
use router::service::{Options, Turns, route};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinHandle,
};
use uuid::Uuid;

/// No wait for a condition is longer.
pub const SOON: Duration = Duration::from_secs(30);
pub const SHARD: Shard = Shard(0);
pub const TENANT: TenantId = TenantId::from_uuid(Uuid::from_u128(1));

pub fn agent(n: u128) -> AgentId {
    AgentId::from_uuid(Uuid::from_u128(0xA000 + n))
}

pub fn group() -> GroupId {
    GroupId::from_uuid(Uuid::from_u128(0x6000))
}

pub fn visitor(n: u128) -> VisitorId {
    VisitorId::from_uuid(Uuid::from_u128(0x70_0000 + n))
}

pub fn conversation(n: u128) -> ConversationId {
    ConversationId::of(TENANT, visitor(n))
}

pub fn life_subject(n: u128) -> String {
    let (shard, tenant, lane) = (SHARD, TENANT, Lane::Life);
    Subject::Conversation { shard, tenant, conversation: conversation(n), lane }.to_string()
}

pub fn agent_subject(id: AgentId) -> String {
    Subject::Agent { shard: SHARD, tenant: TENANT, agent: id }.to_string()
}

/// Runs until it is dropped or told to stop.
pub struct InProcess {
    pub context: Context,
    pub task: JoinHandle<anyhow::Result<()>>,
}

impl InProcess {
    pub async fn stop(mut self) {
        self.context.shutdown.cancel();
        (&mut self.task).await.unwrap().unwrap();
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.context.shutdown.cancel();
    }
}

pub struct Kit {
    pub server: NatsServer,
    pub bus: Bus,
    pub log: Log,
    pub config: Kv,
    pub leases: Kv,
    pub edge: IncarnationId,
    pub groups: BTreeMap<GroupId, GroupRecord>,
    revision: u64,
    rev: u64,
}

impl Kit {
    pub async fn new() -> Self {
        let server = NatsServer::start().await;
        let bus = connect(server.url(), "ops").await;
        Self::on(server, bus).await
    }

    /// With everything provisioned over a connection that may do everything.
    pub async fn on(server: NatsServer, bus: Bus) -> Self {
        let plan =
            Plan { shards: vec![SHARD], replicas: 1, log_bytes_max: 256 << 20, files_bytes_max: 256 << 20 };
        provision::apply(&bus, &plan).await.unwrap();
        let mut kit = Self {
            log: Log::new(bus.clone(), SHARD),
            config: Kv::open(&bus, stream::CONFIG).await.unwrap(),
            leases: Kv::open(&bus, stream::LEASES).await.unwrap(),
            server,
            bus,
            edge: IncarnationId::from_uuid(Uuid::from_u128(0xE000)),
            groups: BTreeMap::new(),
            revision: 0,
            rev: 0,
        };
        kit.keep_lease().await;
        kit.say_nobody_is_here().await;
        kit
    }

    /// The edge's answer whenever it is asked for visitors.
    async fn say_nobody_is_here(&self) {
        let mut questions = self.bus.client.subscribe(who_of_shard(SHARD)).await.unwrap();
        let nobody = TenantSignal::Visitors { edge: self.edge, visitors: Vec::new() };
        let (client, nobody) = (self.bus.client.clone(), serde_json::to_vec(&nobody).unwrap());
        tokio::spawn(async move {
            while let Some(question) = questions.next().await {
                let asker = question.reply.expect("a question");
                client.publish(asker, nobody.clone().into()).await.unwrap();
            }
        });
    }

    /// The edge's lease, for much longer than a test takes.
    async fn keep_lease(&mut self) {
        self.leases.put(&edge_lease(self.edge), "{}").await.unwrap();
    }

    /// The edge is gone: nobody refreshes its lease any more.
    pub async fn drop_lease(&self) {
        let ttl = Duration::from_millis(LEASE_TTL_MS).min(Duration::from_secs(1));
        self.leases.put_for(&edge_lease(self.edge), "{}", ttl).await.unwrap();
    }

    pub async fn router(&self, turns: Turns) -> InProcess {
        self.router_at(self.server.url(), turns, "somewhere").await
    }

    pub async fn router_at(&self, url: String, turns: Turns, place: &str) -> InProcess {
        let bus = connect(url, "router").await;
        let settings = Settings::from_pairs(Service::Router, &[]).unwrap();
        let context = Context::new(settings);
        let options = Options {
            shard: SHARD,
            turns,
            agent_grace: Duration::from_secs(2),
            open_max: None,
            place: place.to_owned(),
        };
        let task = tokio::spawn(route(context.clone(), bus, options));
        InProcess { context, task }
    }

    /// The binary, with an operations listener of its own.
    pub fn process(&self, ops: SocketAddr) -> Process {
        self.process_with(ops, "lease")
    }

    /// The binary that takes turns with others in this way.
    pub fn process_with(&self, ops: SocketAddr, turns: &str) -> Process {
        self.process_of(ops, turns, Duration::from_secs(2))
    }

    /// The binary that gives agents so much time to come back.
    pub fn process_of(&self, ops: SocketAddr, turns: &str, agent_grace: Duration) -> Process {
        Process::builder("router")
            .env("CHATBUS_ROUTER_TURNS", turns)
            .arg("run")
            .env("CHATBUS_NATS_URL", self.server.url())
            .env("CHATBUS_OPS_LISTEN", ops.to_string())
            .env("CHATBUS_AGENT_GRACE_MS", agent_grace.as_millis().to_string())
            .ops_listener(ops)
            .spawn()
            .unwrap()
    }

    async fn put(&self, record: Record) {
        self.config.put(&record.key(), record.encode()).await.unwrap();
    }

    /// One group with agents of these capacities; nobody is there yet.
    pub async fn configure(&mut self, strategy: Strategy, capacities: &[u32]) {
        for (n, capacity) in (1..).zip(capacities) {
            self.revision += 1;
            let record =
                AgentRecord { revision: self.revision, ..AgentRecord::new(TENANT, agent(n), *capacity) };
            self.put(Record::Agent(record)).await;
        }
        self.revision += 1;
        let members = (1..=capacities.len() as u128).map(|n| Member::normal(agent(n))).collect();
        let (name, revision) = ("Support Team".to_owned(), self.revision);
        let record = GroupRecord { name, strategy, members, revision, ..GroupRecord::new(TENANT, group()) };
        self.groups.insert(group(), record.clone());
        self.put(Record::Group(record)).await;
    }

    /// A group beside the one that invariants are checked for.
    pub async fn put_group(&self, record: GroupRecord) {
        self.put(Record::Group(record)).await;
    }

    /// Other settings for the group.
    pub async fn routing(&mut self, routing: RoutingSettings) {
        self.revision += 1;
        let mut record = self.groups[&group()].clone();
        (record.routing, record.revision) = (routing, self.revision);
        self.groups.insert(group(), record.clone());
        self.put(Record::Group(record)).await;
    }

    pub async fn ask(&self, actor: Actor, command: Command) -> Result<Answer, bus_schema::ErrorBody> {
        chat::ask(&self.bus, SHARD, TENANT, &chat::command(actor, command), SOON).await
    }

    /// As an edge reports: again until it is stored.
    pub async fn connections(&mut self, id: AgentId, connections: u32) {
        self.rev += 1;
        let agents = vec![PresenceReport { agent_id: id, rev: self.rev, connections }];
        let command = Command::Presence { incarnation: self.edge, agents };
        wait_for(SOON, "the report to be stored", async || self.ask(Actor::SYSTEM, command.clone()).await)
            .await;
    }

    pub async fn set_status(&self, id: AgentId, status: RoutingStatus) {
        let command = Command::SetStatus { agent_id: id, status };
        self.ask(Actor::agent(id, Role::Agent), command).await.unwrap();
    }

    pub async fn come(&mut self, id: AgentId) {
        self.connections(id, 1).await;
        self.set_status(id, RoutingStatus::Accepting).await;
    }

    pub async fn start(&self, n: u128) -> ThreadId {
        self.start_in(n, Some(group())).await
    }

    /// Writes a start as an edge does.
    pub async fn start_in(&self, n: u128, group_id: Option<GroupId>) -> ThreadId {
        let thread = ThreadId::from_uuid(Uuid::from_u128(0x7_0000_0000 + n));
        let state = LifeState {
            thread_id: thread,
            status: ThreadStatus::Queued,
            group_id,
            assignee_id: None,
            participants: Vec::new(),
            started_at: Timestamp::from_millis(0),
            started_seq: None,
            visitor_id: visitor(n),
            widget_id: None,
            previous_thread_id: None,
            continues: false,
            extra: Extra::new(),
        };
        let event = Event {
            id: EventId::from_uuid(thread.uuid()),
            cause: None,
            tenant_id: TENANT,
            conversation_id: Some(conversation(n)),
            thread_id: Some(thread),
            author: Author::visitor(visitor(n)),
            client_id: None,
            visibility: Visibility::All,
            body: Body::Started(Started { group_id, widget_id: None, source: StartSource::Widget, state }),
        };
        let write = Write::new(life_subject(n), event.encode()).expect(Expect::LastOnSubject(0));
        self.log.publish(write).await.unwrap();
        thread
    }

    pub async fn close(&self, n: u128) -> Result<Answer, bus_schema::ErrorBody> {
        let reason = bus_schema::state::CloseReason::ClosedByVisitor;
        let command = Command::Close { conversation_id: conversation(n), thread_id: None, reason };
        self.ask(Actor::visitor(visitor(n)), command).await
    }

    pub async fn life(&self, n: u128) -> LifeState {
        let last = self.log.last(&life_subject(n)).await.unwrap().unwrap();
        Event::decode(&last.payload).unwrap().body.life_state().unwrap().clone()
    }

    pub async fn agent(&self, id: AgentId) -> Option<AgentState> {
        let last = self.log.last(&agent_subject(id)).await.unwrap()?;
        Event::decode(&last.payload).unwrap().body.agent_state().cloned()
    }

    pub async fn assigned(&self, n: u128) -> AgentId {
        let what = format!("{n} to be assigned");
        wait_for(SOON, &what, async || self.life(n).await.assignee_id).await
    }

    /// Everything that was ever stored.
    pub async fn everything(&self) -> Vec<Logged> {
        let end = self.log.end().await.unwrap().last;
        let mut tail = self.log.tail(vec![stored_in_shard(SHARD)], DeliverFrom::Start).await.unwrap();
        let mut all = Vec::new();
        while all.last().is_none_or(|logged: &Logged| logged.seq < end) {
            let message = tail.next().await.unwrap();
            all.push(Logged {
                seq: message.seq,
                at: message.at,
                subject: Subject::parse(&message.subject).unwrap(),
                event: Event::decode(&message.payload).unwrap(),
            });
        }
        all
    }

    /// The invariants over the whole log.
    pub async fn check(&self) -> Report {
        let report = invariants::check(&self.everything().await, &self.groups);
        let said: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
        assert!(said.is_empty(), "{said:#?}");
        report
    }
}

pub fn free_port() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// A page of a process's operations listener; empty while it does not answer.
pub async fn fetch(ops: SocketAddr, path: &str) -> String {
    let get = async {
        let mut stream = tokio::net::TcpStream::connect(ops).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: ops\r\n\r\n").as_bytes()).await?;
        let mut page = String::new();
        stream.read_to_string(&mut page).await?;
        Ok::<_, std::io::Error>(page)
    };
    get.await.unwrap_or_default()
}

/// What a process's sweeps had to put right since it started; none while it does not answer.
pub async fn mended(ops: SocketAddr) -> Option<u64> {
    let page = fetch(ops, "/metrics").await;
    let line = page.lines().find_map(|line| line.strip_prefix("chatbus_router_mended_total "));
    line.map(|number| number.parse().unwrap())
}

pub async fn connect(url: String, name: &str) -> Bus {
    nats::connect_with(nats::Options::new(url, name)).await.unwrap()
}
