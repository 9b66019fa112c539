//! A Postgres of a measurement's own: durable, on the loopback address, gone at its end.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio_postgres::{Client, NoTls};

use crate::dev::{
    guard::{Guarded, Signal},
    ports,
    postgres::PostgresSpec,
    servers::{self, Search},
};

const DATABASE: &str = "chatbus";
const ENDS_WITHIN: Duration = Duration::from_secs(20);

pub struct OwnPostgres {
    pub process: Guarded,
    spec: PostgresSpec,
}

impl OwnPostgres {
    /// Within `dir`, which outlives it, with the settings that these statements make.
    pub async fn start(dir: &Path, settings: &[&str]) -> anyhow::Result<Self> {
        let (dir, port) = (dir.join("postgres"), ports::free()?);
        // Looking may fetch, and `initdb` takes seconds: not on a runtime's thread.
        let spec = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            let programs = servers::postgres(&Search::from_env())?.path;
            let spec = PostgresSpec { programs, dir, port, password: None, throwaway: false };
            spec.init()?;
            Ok(spec)
        })
        .await??;
        let mut process = spec.start().await?;
        for statement in settings {
            spec.execute("postgres", statement).await?;
        }
        spec.execute("postgres", &format!("CREATE DATABASE {DATABASE}")).await?;
        if !settings.is_empty() {
            process.signal(Signal::INT)?;
            process.wait(ENDS_WITHIN).await?;
            process = spec.start().await?;
        }
        Ok(Self { process, spec })
    }

    pub fn url(&self) -> String {
        self.spec.url(DATABASE)
    }

    /// Where it writes its log.
    pub fn log(&self) -> PathBuf {
        self.spec.log()
    }

    /// As persister's connections, so that a measurement waits for no more than it does.
    pub async fn sql(&self) -> anyhow::Result<Client> {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await?;
        // It ends with its client; an error of it shows in a query.
        tokio::spawn(connection);
        client.batch_execute("SET synchronous_commit = off").await?;
        Ok(client)
    }
}
