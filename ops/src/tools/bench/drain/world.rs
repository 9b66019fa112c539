//! A bus, a Postgres and a persister of the measurement's own: durable, on the loopback address, gone at its end.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail, ensure};
use tokio_postgres::{Client, NoTls};

use super::traffic::SHARD;
use crate::{
    dev::{
        guard::{Guarded, Signal, Spec},
        nats::{NatsSpec, Sync},
        ports,
        postgres::PostgresSpec,
        probe,
        servers::{self, Search},
    },
    log::Log,
    nats::{Options, connect_with},
    provision::{self, Plan},
    service::Unavailable,
    settings::{names, table::PREFIX},
    testing::Scratch,
};

const DATABASE: &str = "chatbus";
const MIGRATED_WITHIN: Duration = Duration::from_secs(60);
const ENDS_WITHIN: Duration = Duration::from_secs(20);
const LOG_BYTES_MAX: u64 = 8 << 30;
/// It writes no files.
const FILES_BYTES_MAX: u64 = 1 << 20;

pub struct World {
    pub log: Log,
    pub postgres: Guarded,
    _nats: Guarded,
    nats_url: String,
    spec: PostgresSpec,
    ops: SocketAddr,
    program: PathBuf,
    // After the servers, so that it goes when they are gone.
    dir: Scratch,
}

impl World {
    pub async fn start() -> anyhow::Result<Self> {
        let dir = Scratch::new("drain")?;
        let path = dir.path().to_owned();
        let port = ports::free()?;
        // Looking may fetch, and `initdb` takes seconds: not on a runtime's thread.
        let (program, spec) = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            let program = servers::nats(&Search::from_env())?.path;
            let programs = servers::postgres(&Search::from_env())?.path;
            let dir = path.join("postgres");
            let spec = PostgresSpec { programs, dir, port, password: None, throwaway: false };
            spec.init()?;
            Ok((program, spec))
        })
        .await??;
        let postgres = spec.start().await?;
        spec.execute("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
        let mut nats = NatsSpec {
            program,
            dir: dir.path().join("nats"),
            name: "drain".to_owned(),
            port: None,
            monitor_port: None,
            sync: Sync::Default,
            member: None,
            extra: String::new(),
            throwaway: true,
        };
        let nats = nats.start().await?;
        let nats_url = format!("nats://{}", nats.address);
        let bus = connect_with(Options::new(&nats_url, "drain")).await?;
        let plan = Plan {
            shards: vec![SHARD],
            replicas: 1,
            log_bytes_max: LOG_BYTES_MAX,
            files_bytes_max: FILES_BYTES_MAX,
        };
        provision::apply(&bus, &plan).await?;
        let program = std::env::current_exe()?.with_file_name("persister");
        if !program.is_file() {
            let fix = "build all binaries: cargo build --release --workspace --bins";
            return Err(Unavailable::new(format!("{} is not there", program.display()), fix).into());
        }
        let ops = ports::loopback(ports::free()?);
        let log = Log::new(bus, SHARD);
        let world = Self { log, postgres, _nats: nats.process, nats_url, spec, ops, program, dir };
        world.migrate().await?;
        Ok(world)
    }

    pub async fn sql(&self) -> anyhow::Result<Client> {
        let (client, connection) = tokio_postgres::connect(&self.spec.url(DATABASE), NoTls).await?;
        // It ends with its client; an error of it shows in a query.
        tokio::spawn(connection);
        // As persister's connections, so that the copies wait for no more than it does.
        client.batch_execute("SET synchronous_commit = off").await?;
        Ok(client)
    }

    /// Makes the read model's tables anew, empty.
    pub async fn empty(&self) -> anyhow::Result<()> {
        self.sql().await?.batch_execute("DROP SCHEMA chat CASCADE").await?;
        self.migrate().await
    }

    async fn migrate(&self) -> anyhow::Result<()> {
        let mut process = self.spawn("migrate")?;
        let ended = process.wait(MIGRATED_WITHIN).await?;
        ensure!(ended == Some(0), "persister migrate ended with {ended:?}:\n{}", self.said());
        Ok(())
    }

    pub fn persister(&self) -> anyhow::Result<Guarded> {
        self.spawn("run")
    }

    /// Ends it in order.
    pub async fn end(&self, mut persister: Guarded) -> anyhow::Result<()> {
        persister.signal(Signal::TERM)?;
        let ended = persister.wait(ENDS_WITHIN).await?;
        ensure!(ended == Some(0), "persister ended with {ended:?}:\n{}", self.said());
        Ok(())
    }

    /// A number that persister tells, summed over labels.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let answer = probe::get(self.ops, "/metrics").await.context("ask persister for its metrics")?;
        let values = answer.body.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            if !rest.starts_with(['{', ' ']) {
                return None;
            }
            rest.rsplit_once(' ')?.1.parse::<f64>().ok()
        });
        values.reduce(|sum, value| sum + value).with_context(|| format!("persister tells no {name}"))
    }

    /// The sequence up to which Postgres has everything.
    pub async fn watermark(&self, sql: &Client, persister: &mut Guarded) -> anyhow::Result<u64> {
        if let Some(code) = persister.try_wait()? {
            bail!("persister ended with {code}:\n{}", self.said());
        }
        let row = sql.query_opt("SELECT seq FROM chat.watermark", &[]).await?;
        Ok(row.map_or(0, |row| row.get::<_, i64>(0).unsigned_abs()))
    }

    fn spawn(&self, command: &str) -> anyhow::Result<Guarded> {
        let env = [
            (names::NATS_URL, self.nats_url.clone()),
            (names::DATABASE_URL, self.spec.url(DATABASE)),
            (names::OPS_LISTEN, self.ops.to_string()),
        ];
        let env = env.map(|(name, value)| (format!("{PREFIX}{name}"), value));
        let spec = Spec::new(&self.program).arg(command).env_only(env).ending(Signal::KILL, ENDS_WITHIN);
        Ok(Guarded::spawn(&spec, &self.said_in())?)
    }

    fn said_in(&self) -> PathBuf {
        self.dir.path().join("persister.log")
    }

    fn said(&self) -> String {
        crate::dev::nats::tail(&self.said_in())
    }
}
