//! A bus, a Postgres and a persister of the measurement's own: durable, on the loopback address, gone at its end.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{bail, ensure};
use tokio_postgres::{Client, NoTls};

use super::super::{metric::metric, own_bus::OwnBus};
use crate::{
    dev::{
        guard::{Guarded, Signal, Spec},
        nats::Sync,
        ports,
        postgres::PostgresSpec,
        servers::{self, Search},
    },
    log::Log,
    settings::{names, table::PREFIX},
    testing::Scratch,
    tools::program::program,
};

const DATABASE: &str = "chatbus";
const MIGRATED_WITHIN: Duration = Duration::from_secs(60);
const ENDS_WITHIN: Duration = Duration::from_secs(20);

pub struct World {
    pub postgres: Guarded,
    bus: OwnBus,
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
        let spec = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            let programs = servers::postgres(&Search::from_env())?.path;
            let dir = path.join("postgres");
            let spec = PostgresSpec { programs, dir, port, password: None, throwaway: false };
            spec.init()?;
            Ok(spec)
        })
        .await??;
        let postgres = spec.start().await?;
        spec.execute("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
        let bus = OwnBus::start("drain", dir.path(), Sync::Default).await?;
        let program = program("persister")?;
        let ops = ports::loopback(ports::free()?);
        let world = Self { postgres, bus, spec, ops, program, dir };
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

    pub fn log(&self) -> &Log {
        &self.bus.log
    }

    /// A number that persister tells, summed over labels.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        metric(self.ops, name).await
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
            (names::NATS_URL, self.bus.url.clone()),
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
