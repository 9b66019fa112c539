//! A private nats-server with JetStream.
//!
//! Its store, its configuration and its log live in one directory; once it has chosen ports it keeps them, so that a
//! restart finds the same clients and the same data.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::guard::{Guarded, Signal, Spec};
use super::ports::loopback;
use super::probe;

const READY_WITHIN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);
const LOG_TAIL_LINES: usize = 15;

/// When a stored message is written through to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sync {
    /// Before it is acknowledged.
    Always,
    /// Every two minutes: survives kill -9, but not a power cut.
    #[default]
    Default,
}

/// One server of a cluster.
#[derive(Debug, Clone)]
pub struct Member {
    pub cluster: String,
    pub port: u16,
    /// The route ports of all members.
    pub routes: Vec<u16>,
}

/// How to run a server.
#[derive(Debug, Clone)]
pub struct NatsSpec {
    pub program: PathBuf,
    pub dir: PathBuf,
    pub name: String,
    /// `None` takes a free one.
    pub port: Option<u16>,
    pub monitor_port: Option<u16>,
    pub sync: Sync,
    pub member: Option<Member>,
    /// Further configuration, such as users and their permissions.
    pub extra: String,
    /// Whether the data is thrown away: then the server is killed rather than asked to end.
    pub throwaway: bool,
}

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    #[error("cannot prepare {path}")]
    Prepare {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot start {program}")]
    Start {
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("nats-server ended with {code}; its log {log} says:\n{tail}")]
    Ended { code: i32, log: PathBuf, tail: String },
    #[error("nats-server is not ready after {READY_WITHIN:?}; its log {log} says:\n{tail}")]
    NotReady { log: PathBuf, tail: String },
}

/// A server that runs.
#[derive(Debug)]
pub struct Nats {
    pub process: Guarded,
    pub address: SocketAddr,
    pub monitor: SocketAddr,
}

impl NatsSpec {
    /// Starts the server and waits until its JetStream answers. From then on the spec names the ports it took.
    pub async fn start(&mut self) -> Result<Nats, NatsError> {
        let mut nats = self.launch().await?;
        self.wait_healthy(&mut nats, "/healthz").await?;
        Ok(nats)
    }

    /// Starts the server and waits only until it has its ports: a member of a cluster is not healthy alone.
    pub async fn launch(&mut self) -> Result<Nats, NatsError> {
        let path = self.dir.clone();
        let (config, ports) = self.prepare().map_err(|source| NatsError::Prepare { path, source })?;
        let ending = if self.throwaway { Signal::KILL } else { Signal::TERM };
        let spec = Spec::new(&self.program).arg("-c").arg(config).ending(ending, Duration::from_secs(10));
        let process = Guarded::spawn(&spec, &self.log())
            .map_err(|source| NatsError::Start { program: self.program.clone(), source })?;
        self.wait_for_ports(process, &ports).await
    }

    /// Waits until the server answers `path` with 200.
    pub async fn wait_healthy(&self, nats: &mut Nats, path: &str) -> Result<(), NatsError> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            self.check_running(&mut nats.process, deadline)?;
            if probe::get(nats.monitor, path).await.is_ok_and(|answer| answer.is_ok()) {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub fn log(&self) -> PathBuf {
        self.dir.join("nats.log")
    }

    fn prepare(&self) -> io::Result<(PathBuf, PathBuf)> {
        let ports = self.dir.join("ports");
        let _ = fs::remove_dir_all(&ports);
        fs::create_dir_all(&ports)?;
        let config = self.dir.join("nats.conf");
        fs::write(&config, self.config(&ports))?;
        Ok((config, ports))
    }

    fn config(&self, ports: &Path) -> String {
        let port = |port: Option<u16>| port.map_or_else(|| "-1".to_owned(), |port| port.to_string());
        let sync = match self.sync {
            Sync::Always => "sync_interval: always",
            Sync::Default => "",
        };
        let mut config = format!(
            "server_name: {name:?}\nlisten: \"127.0.0.1:{listen}\"\nhttp: \"127.0.0.1:{http}\"\n\
             ports_file_dir: {ports:?}\njetstream {{ store_dir: {store:?}\n {sync} }}\n",
            name = self.name,
            listen = port(self.port),
            http = port(self.monitor_port),
            store = self.dir.join("store"),
        );
        if let Some(member) = &self.member {
            let routes: Vec<_> =
                member.routes.iter().map(|p| format!("\"nats-route://127.0.0.1:{p}\"")).collect();
            let _ = writeln!(
                config,
                "cluster {{ name: {:?}, listen: \"127.0.0.1:{}\", routes: [{}] }}",
                member.cluster,
                member.port,
                routes.join(", ")
            );
        }
        config + &self.extra
    }

    async fn wait_for_ports(&mut self, mut process: Guarded, ports: &Path) -> Result<Nats, NatsError> {
        let deadline = Instant::now() + READY_WITHIN;
        let file = ports.join(format!("nats-server_{}.ports", process.pid()));
        loop {
            self.check_running(&mut process, deadline)?;
            if let Some((port, monitor_port)) = read_ports(&file) {
                (self.port, self.monitor_port) = (Some(port), Some(monitor_port));
                return Ok(Nats { process, address: loopback(port), monitor: loopback(monitor_port) });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn check_running(&self, process: &mut Guarded, deadline: Instant) -> Result<(), NatsError> {
        let log = self.log();
        let tail = || tail(&self.log());
        match process.try_wait() {
            Ok(None) if Instant::now() < deadline => Ok(()),
            Ok(None) => Err(NatsError::NotReady { tail: tail(), log }),
            Ok(Some(code)) => Err(NatsError::Ended { code, tail: tail(), log }),
            Err(source) => Err(NatsError::Start { program: self.program.clone(), source }),
        }
    }
}

/// The last lines of a log.
pub fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().rev().take(LOG_TAIL_LINES).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

fn read_ports(file: &Path) -> Option<(u16, u16)> {
    #[derive(Deserialize)]
    struct Ports {
        nats: Vec<String>,
        monitoring: Vec<String>,
    }
    let ports: Ports = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let port = |urls: &[String]| urls.first()?.rsplit(':').next()?.parse().ok();
    Some((port(&ports.nats)?, port(&ports.monitoring)?))
}
