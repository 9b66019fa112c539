//! A bus with one tenant, and edges on it.

use std::net::SocketAddr;

use base64::Engine as _;
use bus_schema::{
    AgentId, GroupId, SessionId, Shard, TenantId, WidgetId,
    claims::Role,
    config::{AgentRecord, GroupRecord, Member, Record, TenantRecord, WidgetRecord},
    stream,
};
use ops::{
    auth::{self, Audience, SigningKey, StaffGrant},
    kv::Kv,
    log::Log,
    nats::{Bus, Options, connect_with},
    provision::{self, Plan},
    service::{Context, Service},
    settings::Settings,
    testing::{NatsCluster, NatsServer, Scratch, wait_for},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::http;

pub const WIDGET_ORIGIN: &str = "https://shop.example";
pub const CONSOLE_ORIGIN: &str = "https://console.example";
const LOG_BYTES: u64 = 1 << 30;

/// On one nats-server, or on a cluster.
pub struct World<N = NatsServer> {
    pub nats: N,
    url: String,
    pub bus: Bus,
    pub log: Log,
    pub tenant: TenantId,
    pub widget: WidgetId,
    pub widget_key: String,
    pub group: GroupId,
    pub agents: Vec<AgentId>,
    pub staff_key: SigningKey,
    pub visitor_key: SigningKey,
    dir: Scratch,
}

pub struct Edge {
    pub at: SocketAddr,
    pub ctx: Context,
    pub done: JoinHandle<anyhow::Result<()>>,
}

impl World {
    pub async fn new() -> Self {
        Self::with_log_of(LOG_BYTES).await
    }

    /// A world whose log takes so many bytes.
    pub async fn with_log_of(log_bytes_max: u64) -> Self {
        let nats = NatsServer::start().await;
        let url = nats.url();
        Self::over(nats, url, 1, log_bytes_max).await
    }
}

impl World<NatsCluster> {
    pub async fn of_three() -> Self {
        let nats = NatsCluster::start().await;
        let url = nats.urls();
        Self::over(nats, url, 3, LOG_BYTES).await
    }
}

impl<N> World<N> {
    async fn over(nats: N, url: String, replicas: usize, log_bytes_max: u64) -> Self {
        ops::service::install_crypto();
        let bus = connect_with(Options::new(url.clone(), "test")).await.unwrap();
        provision::apply(&bus, &plan(replicas, log_bytes_max)).await.unwrap();
        let dir = Scratch::new("edge").unwrap();
        let staff_key = SigningKey::generate().unwrap();
        let visitor_key = SigningKey::load_or_generate(&dir.path().join("visitor.pem")).unwrap();
        auth::publish(&bus, Audience::Staff, &staff_key).await.unwrap();
        let log = Log::new(bus.clone(), Shard(0));
        let mut world = Self {
            nats,
            url,
            bus,
            log,
            tenant: TenantId::from_uuid(Uuid::now_v7()),
            widget: WidgetId::from_uuid(Uuid::now_v7()),
            widget_key: "pk_test".to_owned(),
            group: GroupId::from_uuid(Uuid::now_v7()),
            agents: (0..3).map(|_| AgentId::from_uuid(Uuid::now_v7())).collect(),
            staff_key,
            visitor_key,
            dir,
        };
        world.configure().await;
        world
    }

    /// Makes what of the bus is not there.
    pub async fn provision(&self) {
        provision::apply(&self.bus, &plan(1, LOG_BYTES)).await.unwrap();
    }

    async fn configure(&mut self) {
        let Self { tenant, widget: widget_id, group, .. } = *self;
        let mut records = vec![
            Record::Tenant(TenantRecord {
                tenant_id: tenant,
                name: "Shop".into(),
                shard: Shard(0),
                default_group_id: Some(group),
                console_origins: vec![CONSOLE_ORIGIN.into()],
                thread_per_assignment: false,
                routing: Default::default(),
                revision: 1,
                deleted: false,
            }),
            Record::Widget(widget(tenant, widget_id, &self.widget_key)),
            Record::Group(GroupRecord {
                name: "Sales".into(),
                // The last agent is in no group.
                members: self.agents[..2].iter().copied().map(Member::normal).collect(),
                ..GroupRecord::new(tenant, group)
            }),
        ];
        records.extend((0..self.agents.len()).map(|n| self.agent_record(n, &format!("Agent {n}"), 1)));
        for record in &records {
            self.put(record).await;
        }
    }

    /// Another tenant with a widget of its own, which is given back.
    pub async fn neighbour(&self) -> WidgetRecord {
        let tenant_id = TenantId::from_uuid(Uuid::now_v7());
        let tenant = TenantRecord {
            tenant_id,
            name: "Neighbour".into(),
            shard: Shard(0),
            default_group_id: None,
            console_origins: Vec::new(),
            thread_per_assignment: false,
            routing: Default::default(),
            revision: 1,
            deleted: false,
        };
        self.put(&Record::Tenant(tenant)).await;
        let theirs = widget(tenant_id, WidgetId::from_uuid(Uuid::now_v7()), "pk_other");
        self.put(&Record::Widget(theirs.clone())).await;
        theirs
    }

    fn agent_record(&self, n: usize, name: &str, revision: u64) -> Record {
        Record::Agent(AgentRecord {
            name: name.to_owned(),
            job_title: Some("Helper".into()),
            revision,
            ..AgentRecord::new(self.tenant, self.agents[n], 5)
        })
    }

    /// An agent's record with another name.
    pub fn renamed(&self, n: usize, name: &str) -> Record {
        self.agent_record(n, name, 2)
    }

    pub async fn put(&self, record: &Record) {
        let config = Kv::open(&self.bus, stream::CONFIG).await.unwrap();
        config.put(&record.key(), record.encode()).await.unwrap();
    }

    /// An edge of this world that is ready.
    pub async fn edge(&self) -> Edge {
        self.edge_with(&[]).await
    }

    pub async fn edge_with(&self, more: &[(&str, &str)]) -> Edge {
        let at: SocketAddr = format!("127.0.0.1:{}", ops::dev::ports::free().unwrap()).parse().unwrap();
        let listen = at.to_string();
        let key = self.dir.path().join("visitor.pem").display().to_string();
        let mut pairs = vec![
            ("LISTEN", listen.as_str()),
            ("NATS_URL", self.url.as_str()),
            ("VISITOR_KEY_FILE", key.as_str()),
            // Tests send faster than people.
            ("LIMIT_EVENTS_PER_SECOND", "0"),
        ];
        pairs.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        pairs.extend_from_slice(more);
        let ctx = Context::new(Settings::from_pairs(Service::Edge, &pairs).unwrap());
        let mut edge = Edge { at, ctx: ctx.clone(), done: tokio::spawn(edge::run(ctx.clone())) };
        wait_for(std::time::Duration::from_secs(10), "the edge to be ready", async || {
            if edge.done.is_finished() {
                panic!("the edge ended: {:?}", (&mut edge.done).await);
            }
            ctx.health.is_ready() && tokio::net::TcpStream::connect(at).await.is_ok()
        })
        .await;
        edge
    }

    pub fn staff_token(&self, agent: AgentId, role: Role) -> String {
        let session = SessionId::from_uuid(Uuid::now_v7());
        let grant = StaffGrant { agent, tenant: self.tenant, role, session };
        auth::mint_staff(&self.staff_key, grant, now()).token
    }

    /// A session for a visitor with this key byte; more fields may be given.
    pub async fn session(&self, edge: &Edge, key: [u8; 32], more: Value) -> Value {
        let answer = http::post(edge.at, "/v1/widget/session", &self.session_body(key, more)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    pub fn session_body(&self, key: [u8; 32], more: Value) -> Value {
        let key = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key);
        let mut body = json!({ "widget_key": self.widget_key, "visitor_key": key });
        for (name, value) in more.as_object().expect("an object").clone() {
            body[name] = value;
        }
        body
    }
}

fn plan(replicas: usize, log_bytes_max: u64) -> Plan {
    Plan { shards: vec![Shard(0)], replicas, log_bytes_max, files_bytes_max: 256 << 20 }
}

pub fn widget(tenant_id: TenantId, widget_id: WidgetId, key: &str) -> WidgetRecord {
    WidgetRecord {
        widget_id,
        tenant_id,
        key: key.to_owned(),
        name: "Shop chat".into(),
        allowed_origins: vec![WIDGET_ORIGIN.into()],
        default_group_id: None,
        greeting: Some("Hello".into()),
        locale: None,
        theme: serde_json::Map::new(),
        identity: None,
        identity_required: false,
        revision: 1,
        deleted: false,
    }
}

pub fn now() -> bus_schema::Timestamp {
    bus_schema::Timestamp::from_millis(ops::client::now_ms())
}

impl Edge {
    /// Stops it in order, and waits for the end.
    pub async fn stop(self) {
        self.ctx.health.begin_draining();
        self.ctx.shutdown.cancel();
        self.ctx.tasks.close();
        self.done.await.unwrap().unwrap();
        self.ctx.tasks.wait().await;
    }
}
