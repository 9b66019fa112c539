//! A nats-server of a test's own.
//!
//! It keeps its ports and its store over restarts, so clients find it again as they would in production.

use std::net::SocketAddr;
use std::time::Duration;

use super::scratch::Scratch;
use crate::dev::guard::Signal;
use crate::dev::nats::{Nats, NatsSpec, Sync};
use crate::dev::servers::{self, Search};

/// How the server is to be.
#[derive(Debug, Clone, Default)]
pub struct NatsOptions {
    pub sync: Sync,
    /// Further configuration text, such as users and their permissions.
    pub config: String,
}

/// A running server; it and its data are gone when this is dropped.
#[derive(Debug)]
pub struct NatsServer {
    // Before the directory, so that it is dropped first.
    running: Option<Nats>,
    spec: NatsSpec,
    address: SocketAddr,
    monitor: SocketAddr,
    _dir: Scratch,
}

impl NatsServer {
    /// A server with the defaults.
    pub async fn start() -> Self {
        Self::with(NatsOptions::default()).await
    }

    /// A server as told. Panics with the fix when there is none on this machine.
    pub async fn with(options: NatsOptions) -> Self {
        let dir = Scratch::new("nats").expect("a temporary directory");
        let mut spec = NatsSpec {
            program: program().await,
            dir: dir.path().to_path_buf(),
            name: "test".to_owned(),
            port: None,
            monitor_port: None,
            sync: options.sync,
            member: None,
            extra: options.config,
            throwaway: true,
        };
        let nats = spec.start().await.unwrap_or_else(|error| panic!("{error}"));
        let (address, monitor) = (nats.address, nats.monitor);
        Self { running: Some(nats), spec, address, monitor, _dir: dir }
    }

    /// `nats://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// The same with a user of the configuration in it. (async-nats itself ignores users in URLs.)
    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("nats://{user}:{password}@{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:port`, for `/varz`, `/jsz` and their like.
    pub fn monitor_url(&self) -> String {
        format!("http://{}", self.monitor)
    }

    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|nats| nats.process.pid())
    }

    /// A client without a user.
    pub async fn client(&self) -> async_nats::Client {
        async_nats::connect(self.url()).await.expect("the server is ready")
    }

    /// A client as a user of the configuration.
    pub async fn client_as(
        &self,
        user: &str,
        password: &str,
    ) -> Result<async_nats::Client, async_nats::ConnectError> {
        let options =
            async_nats::ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
        options.connect(self.url()).await
    }

    /// Kills it with -9; [`Self::restart`] brings it back.
    pub fn kill(&mut self) {
        if let Some(mut nats) = self.running.take() {
            nats.process.kill().expect("kill -9 ends a process");
        }
    }

    /// Starts it again on its ports and its store, killing it first if it runs.
    pub async fn restart(&mut self) {
        self.kill();
        self.running = Some(self.spec.start().await.unwrap_or_else(|error| panic!("{error}")));
    }

    /// Stops it with a signal that lets it write its state out.
    pub async fn shut_down(&mut self) {
        if let Some(mut nats) = self.running.take() {
            nats.process.signal(Signal::TERM).expect("a running process takes signals");
            let code = nats.process.wait(Duration::from_secs(10)).await.expect("a child can be waited for");
            assert!(code.is_some(), "nats-server is still there 10 s after TERM");
        }
    }

    /// Freezes it: connections stay, nothing is answered.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(nats) = &mut self.running {
            nats.process.signal(signal).expect("a running process takes signals");
        }
    }
}

/// Looking may fetch, which takes seconds: not on a runtime's thread.
pub(super) async fn program() -> std::path::PathBuf {
    let found = tokio::task::spawn_blocking(|| servers::nats(&Search::from_env())).await;
    match found.expect("the search does not panic") {
        Ok(found) => found.path,
        Err(error) => panic!("{}", crate::dev::explain(&error)),
    }
}
