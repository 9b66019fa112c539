//! A bus and a router of the measurement's own, and an edge that is only as much of one as routing needs.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::bail;
use bus_schema::{
    AgentId, Epoch, GroupId, IncarnationId, TenantId,
    claims::Role,
    command::{Actor, Answer, Command, PresenceReport},
    config::{AgentRecord, GroupRecord, Member, Record},
    state::RoutingStatus,
    stream::{CONFIG, LEASES, edge_lease},
};
use uuid::Uuid;

use super::super::{
    metric::metric,
    own_bus::{LOG_BYTES_MAX, OwnBus, SHARD},
};
use crate::{
    chat,
    dev::{
        guard::{Guarded, Signal, Spec},
        nats::{self, Sync},
        ports,
    },
    kv::Kv,
    log::Log,
    settings::{names, table::PREFIX},
    testing::Scratch,
    tools::program::program,
};

const READY_WITHIN: Duration = Duration::from_secs(60);
const ENDS_WITHIN: Duration = Duration::from_secs(20);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

pub struct World {
    pub epoch: Epoch,
    pub tenant: TenantId,
    pub groups: Vec<GroupId>,
    pub agents: Vec<AgentId>,
    pub edge: IncarnationId,
    config: Kv,
    leases: Kv,
    ops: SocketAddr,
    bus: OwnBus,
    // After the servers, so that it goes when they are gone.
    dir: Scratch,
}

impl World {
    /// Durable: every publish is on disk before it is acknowledged.
    pub async fn start(sync: Sync, agents: usize, groups: usize) -> anyhow::Result<Self> {
        let dir = Scratch::new("route")?;
        let bus = OwnBus::start("route", dir.path(), sync, LOG_BYTES_MAX).await?;
        let id = || Uuid::now_v7();
        Ok(Self {
            epoch: bus.log.epoch().await?,
            tenant: TenantId::from_uuid(id()),
            groups: (0..groups).map(|_| GroupId::from_uuid(id())).collect(),
            agents: (0..agents).map(|_| AgentId::from_uuid(id())).collect(),
            edge: IncarnationId::from_uuid(id()),
            config: Kv::open(bus.log.bus(), CONFIG).await?,
            leases: Kv::open(bus.log.bus(), LEASES).await?,
            ops: ports::loopback(ports::free()?),
            bus,
            dir,
        })
    }

    pub fn log(&self) -> &Log {
        &self.bus.log
    }

    /// Agents of this capacity, each in one of the groups.
    pub async fn configure(&self, capacity: u32) -> anyhow::Result<()> {
        self.leases.put(&edge_lease(self.edge), "{}").await?;
        for agent in &self.agents {
            let record = AgentRecord::new(self.tenant, *agent, capacity);
            self.put(Record::Agent(record)).await?;
        }
        for (n, group) in self.groups.iter().enumerate() {
            let members = self.agents.iter().skip(n).step_by(self.groups.len());
            let members = members.map(|agent| Member::normal(*agent)).collect();
            let record = GroupRecord { members, revision: 2, ..GroupRecord::new(self.tenant, *group) };
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
        let answer = chat::ask(self.log().bus(), SHARD, self.tenant, &request, ANSWER_WITHIN).await;
        answer.map_err(|error| anyhow::anyhow!("{}: {}", error.code.name(), error.message))
    }

    /// A router, and how long it took from its start until it answered.
    pub async fn router(&self) -> anyhow::Result<(Guarded, Duration)> {
        let program = program("router")?;
        let env = [(names::NATS_URL, self.bus.url.clone()), (names::OPS_LISTEN, self.ops.to_string())];
        let env = env.map(|(name, value)| (format!("{PREFIX}{name}"), value));
        let spec = Spec::new(&program).arg("run").env_only(env).ending(Signal::TERM, ENDS_WITHIN);
        let began = tokio::time::Instant::now();
        let mut process = Guarded::spawn(&spec, &self.said_in())?;
        let subject = bus_schema::subject::commands(SHARD, self.tenant);
        let request = chat::command(Actor::SYSTEM, Command::ListGroups);
        let payload = serde_json::to_vec(&request)?;
        while self.log().bus().client.request(subject.clone(), payload.clone().into()).await.is_err() {
            let ended = process.try_wait()?;
            if ended.is_some() || began.elapsed() > READY_WITHIN {
                bail!("the router does not answer ({ended:?}):\n{}", nats::tail(&self.said_in()));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok((process, began.elapsed()))
    }

    /// A number that the router tells, summed over labels.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        metric(self.ops, name).await
    }

    fn said_in(&self) -> PathBuf {
        self.dir.path().join("router.log")
    }
}
