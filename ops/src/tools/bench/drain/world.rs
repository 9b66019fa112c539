//! A bus, a Postgres and a persister of the measurement's own: durable, on the loopback address, gone at its end.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{bail, ensure};
use tokio_postgres::Client;

use super::super::{metric::metric, own_bus::OwnBus, own_postgres::OwnPostgres};
use crate::{
    dev::{
        guard::{Guarded, Signal, Spec},
        nats::Sync,
        ports,
    },
    log::Log,
    settings::{names, table::PREFIX},
    testing::Scratch,
    tools::program::program,
};

const MIGRATED_WITHIN: Duration = Duration::from_secs(60);
const ENDS_WITHIN: Duration = Duration::from_secs(20);

pub struct World {
    pub postgres: OwnPostgres,
    bus: OwnBus,
    ops: SocketAddr,
    program: PathBuf,
    // After the servers, so that it goes when they are gone.
    dir: Scratch,
}

impl World {
    pub async fn start(log_bytes_max: u64) -> anyhow::Result<Self> {
        let dir = Scratch::new("drain")?;
        let postgres = OwnPostgres::start(dir.path(), &[]).await?;
        let bus = OwnBus::start("drain", dir.path(), Sync::Default, log_bytes_max).await?;
        let program = program("persister")?;
        let ops = ports::loopback(ports::free()?);
        let world = Self { postgres, bus, ops, program, dir };
        world.migrate().await?;
        Ok(world)
    }

    /// Makes the read model's tables anew, empty.
    pub async fn empty(&self) -> anyhow::Result<()> {
        self.postgres.sql().await?.batch_execute("DROP SCHEMA chat CASCADE").await?;
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
            (names::DATABASE_URL, self.postgres.url()),
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
