//! A Postgres of the test process's own.
//!
//! `initdb` runs once a process; tests get databases of their own by copying a template that was migrated once.

use std::path::PathBuf;

use tokio::sync::OnceCell;

use super::database::Database;
use super::scratch::Scratch;
use crate::dev::guard::{Guarded, Signal};
use crate::dev::ports;
use crate::dev::postgres::{PostgresError, PostgresSpec};
use crate::dev::servers::{self, Search};

const PORT_TRIES: usize = 5;

static SHARED: OnceCell<Postgres> = OnceCell::const_new();

/// A running server; it and its data are gone when this is dropped, and with the process at the latest.
#[derive(Debug)]
pub struct Postgres {
    // Before the directory, so that it is dropped first.
    running: Option<Guarded>,
    spec: PostgresSpec,
    templates: tokio::sync::Mutex<Vec<String>>,
    _dir: Scratch,
}

impl Postgres {
    /// The one of this process. Not to be killed: other tests use it.
    pub async fn shared() -> &'static Self {
        SHARED.get_or_init(Self::start).await
    }

    /// A server for one test alone. Panics with the fix when there is none on this machine.
    pub async fn start() -> Self {
        let dir = Scratch::new("postgres").expect("a temporary directory");
        let mut spec = PostgresSpec {
            programs: programs().await,
            dir: dir.path().join("cluster"),
            port: 0,
            password: None,
            throwaway: true,
        };
        let made = spec.clone();
        let init = tokio::task::spawn_blocking(move || made.init()).await.expect("initdb does not panic");
        init.unwrap_or_else(|error| panic!("{}", crate::dev::explain(&error)));
        let running = start_on_free_port(&mut spec).await;
        Self { running: Some(running), spec, templates: tokio::sync::Mutex::default(), _dir: dir }
    }

    /// How clients reach a database of this server.
    pub fn url(&self, database: &str) -> String {
        self.spec.url(database)
    }

    /// Where it listens, for a proxy in front of it.
    pub fn address(&self) -> std::net::SocketAddr {
        ports::loopback(self.spec.port)
    }

    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Guarded::pid)
    }

    /// A new empty database.
    pub async fn database(&self) -> Database<'_> {
        Database::create(self, None).await
    }

    /// A copy of the template `name`, which `migrate` fills, given its URL, the first time it is asked for.
    pub async fn database_from<F>(&self, name: &str, migrate: F) -> Database<'_>
    where
        F: AsyncFnOnce(String),
    {
        let mut templates = self.templates.lock().await;
        if !templates.iter().any(|template| template == name) {
            self.execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE); "))
                .await
                .and(self.execute(&format!("CREATE DATABASE {name}")).await)
                .unwrap_or_else(|error| panic!("{}", crate::dev::explain(&error)));
            migrate(self.url(name)).await;
            templates.push(name.to_owned());
        }
        drop(templates);
        Database::create(self, Some(name)).await
    }

    /// Kills it with -9; [`Self::restart`] brings it back.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.kill().expect("kill -9 ends a process");
        }
    }

    /// Starts it again on its port and its data, killing it first if it runs.
    pub async fn restart(&mut self) {
        self.kill();
        let started = self.spec.start().await;
        self.running = Some(started.unwrap_or_else(|error| panic!("{}", crate::dev::explain(&error))));
    }

    /// Freezes the server process: no new connections; those there are keep working.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    pub(super) async fn execute(&self, statement: &str) -> Result<(), PostgresError> {
        self.spec.execute("postgres", statement).await
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(running) = &mut self.running {
            running.signal(signal).expect("a running process takes signals");
        }
    }
}

/// Another process may take a port between its being found free and its use.
async fn start_on_free_port(spec: &mut PostgresSpec) -> Guarded {
    let mut tries = 0;
    loop {
        spec.port = ports::free().expect("there is a free port");
        tries += 1;
        match spec.start().await {
            Ok(running) => return running,
            Err(PostgresError::Ended { tail, .. })
                if tail.contains("could not bind") && tries < PORT_TRIES => {}
            Err(error) => panic!("{}", crate::dev::explain(&error)),
        }
    }
}

/// Looking may fetch, which takes seconds: not on a runtime's thread.
async fn programs() -> PathBuf {
    let found = tokio::task::spawn_blocking(|| servers::postgres(&Search::from_env())).await;
    match found.expect("the search does not panic") {
        Ok(found) => found.path,
        Err(error) => panic!("{}", crate::dev::explain(&error)),
    }
}
