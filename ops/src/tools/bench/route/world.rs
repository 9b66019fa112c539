//! A bus and a router of the measurement's own, and an edge that is only as much of one as routing needs.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail, ensure};
use bus_schema::{
    AccountId, AgentId, Epoch, GroupId, IncarnationId, Shard, TenantId,
    claims::Role,
    command::{Actor, Answer, Command, PresenceReport},
    config::{AgentRecord, GroupRecord, Member, MemberPriority, Record, RoutingSettings, WhenOffline},
    state::{RoutingStatus, Strategy},
    stream::{CONFIG, LEASES, edge_lease},
};
use uuid::Uuid;

use crate::{
    chat,
    dev::{
        guard::{Guarded, Signal, Spec},
        nats::{self, NatsSpec, Sync},
        ports, probe,
        servers::{self, Search},
    },
    kv::Kv,
    log::Log,
    nats::{Options, connect_with},
    provision::{self, Plan},
    service::Unavailable,
    settings::{names, table::PREFIX},
    testing::Scratch,
};

pub const SHARD: Shard = Shard(0);
const READY_WITHIN: Duration = Duration::from_secs(60);
const ENDS_WITHIN: Duration = Duration::from_secs(20);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const LOG_BYTES_MAX: u64 = 8 << 30;
/// It writes no files.
const FILES_BYTES_MAX: u64 = 1 << 20;
const POLL: Duration = Duration::from_millis(5);

pub struct World {
    pub log: Log,
    pub epoch: Epoch,
    pub tenant: TenantId,
    pub groups: Vec<GroupId>,
    pub agents: Vec<AgentId>,
    pub edge: IncarnationId,
    config: Kv,
    leases: Kv,
    url: String,
    ops: SocketAddr,
    _nats: Guarded,
    // After the servers, so that it goes when they are gone.
    dir: Scratch,
}

impl World {
    /// Durable: every publish is on disk before it is acknowledged.
    pub async fn start(sync: Sync, agents: usize, groups: usize) -> anyhow::Result<Self> {
        let dir = Scratch::new("route")?;
        // Looking may fetch: not on a runtime's thread.
        let program = tokio::task::spawn_blocking(|| servers::nats(&Search::from_env())).await??.path;
        let mut spec = NatsSpec {
            program,
            dir: dir.path().join("nats"),
            name: "route".to_owned(),
            port: None,
            monitor_port: None,
            sync,
            member: None,
            extra: String::new(),
            throwaway: true,
        };
        let server = spec.start().await?;
        let url = format!("nats://{}", server.address);
        let bus = connect_with(Options::new(&url, "bench")).await?;
        let plan = Plan {
            shards: vec![SHARD],
            replicas: 1,
            log_bytes_max: LOG_BYTES_MAX,
            files_bytes_max: FILES_BYTES_MAX,
        };
        provision::apply(&bus, &plan).await?;
        let log = Log::new(bus.clone(), SHARD);
        let id = || Uuid::now_v7();
        Ok(Self {
            epoch: log.epoch().await?,
            tenant: TenantId::from_uuid(id()),
            groups: (0..groups).map(|_| GroupId::from_uuid(id())).collect(),
            agents: (0..agents).map(|_| AgentId::from_uuid(id())).collect(),
            edge: IncarnationId::from_uuid(id()),
            config: Kv::open(&bus, CONFIG).await?,
            leases: Kv::open(&bus, LEASES).await?,
            ops: ports::loopback(ports::free()?),
            log,
            url,
            _nats: server.process,
            dir,
        })
    }

    /// Agents of this capacity, each in one of the groups.
    pub async fn configure(&self, capacity: u32) -> anyhow::Result<()> {
        self.leases.put(&edge_lease(self.edge), "{}").await?;
        for agent in &self.agents {
            let record = AgentRecord {
                agent_id: *agent,
                tenant_id: self.tenant,
                account_id: AccountId::NIL,
                name: "somebody".to_owned(),
                role: Role::Agent,
                capacity,
                skills: Vec::new(),
                avatar_url: None,
                job_title: None,
                revision: 1,
                deleted: false,
            };
            self.put(Record::Agent(record)).await?;
        }
        for (n, group) in self.groups.iter().enumerate() {
            let members = self.agents.iter().skip(n).step_by(self.groups.len());
            let member = |agent: &AgentId| Member { agent_id: *agent, priority: MemberPriority::Normal };
            let record = GroupRecord {
                group_id: *group,
                tenant_id: self.tenant,
                name: "a group".to_owned(),
                strategy: Strategy::LeastLoaded,
                second_strategy: Strategy::LeastLoaded,
                members: members.map(member).collect(),
                queue_max: None,
                when_offline: WhenOffline::Keep,
                routing: RoutingSettings::default(),
                revision: 2,
                deleted: false,
            };
            self.put(Record::Group(record)).await?;
        }
        Ok(())
    }

    async fn put(&self, record: Record) -> anyhow::Result<()> {
        self.config.put(&record.key(), record.encode()).await?;
        Ok(())
    }

    /// Every agent is connected and accepts chats.
    pub async fn agents_come(&self) -> anyhow::Result<()> {
        for agent in &self.agents {
            let report = PresenceReport { agent_id: *agent, rev: 1, connections: 1 };
            let presence = Command::Presence { incarnation: self.edge, agents: vec![report] };
            self.ask(Actor::SYSTEM, presence).await?;
            let accept = Command::SetStatus { agent_id: *agent, status: RoutingStatus::Accepting };
            self.ask(Actor::agent(*agent, Role::Agent), accept).await?;
        }
        Ok(())
    }

    pub async fn ask(&self, actor: Actor, command: Command) -> anyhow::Result<Answer> {
        let request = chat::command(actor, command);
        let answer = chat::ask(self.log.bus(), SHARD, self.tenant, &request, ANSWER_WITHIN).await;
        answer.map_err(|error| anyhow::anyhow!("{}: {}", error.code.name(), error.message))
    }

    /// A router, and how long it took from its start until it answered.
    pub async fn router(&self) -> anyhow::Result<(Guarded, Duration)> {
        let program = std::env::current_exe()?.with_file_name("router");
        if !program.is_file() {
            let fix = "build all binaries: cargo build --release --workspace --bins";
            return Err(Unavailable::new(format!("{} is not there", program.display()), fix).into());
        }
        let env = [(names::NATS_URL, self.url.clone()), (names::OPS_LISTEN, self.ops.to_string())];
        let env = env.map(|(name, value)| (format!("{PREFIX}{name}"), value));
        let spec = Spec::new(&program).arg("run").env_only(env).ending(Signal::TERM, ENDS_WITHIN);
        let began = tokio::time::Instant::now();
        let mut process = Guarded::spawn(&spec, &self.said_in())?;
        let subject = bus_schema::subject::commands(SHARD, self.tenant);
        let request = chat::command(Actor::SYSTEM, Command::ListGroups);
        let payload = serde_json::to_vec(&request)?;
        while self.log.bus().client.request(subject.clone(), payload.clone().into()).await.is_err() {
            let ended = process.try_wait()?;
            if ended.is_some() || began.elapsed() > READY_WITHIN {
                bail!("the router does not answer ({ended:?}):\n{}", nats::tail(&self.said_in()));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok((process, began.elapsed()))
    }

    /// Numbers that the router tells, by name, summed over labels.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let answer = probe::get(self.ops, "/metrics").await.context("ask the router for its metrics")?;
        let values = answer.body.lines().filter(|line| line.starts_with(name));
        let values: Vec<f64> = values.filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).collect();
        ensure!(!values.is_empty(), "the router tells no {name}");
        Ok(values.iter().sum())
    }

    fn said_in(&self) -> PathBuf {
        self.dir.path().join("router.log")
    }
}
