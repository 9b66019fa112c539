//! Whether what the bus acknowledges is on disk.
//!
//! Invariant: says `Synced` only if the server itself said so.

use std::{net::SocketAddr, time::Duration};

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, lookup_host},
    time::timeout,
};

use crate::{
    log::{Log, ReadError},
    service::Unavailable,
    settings::{Profile, Settings, names, table::PREFIX},
};

const ASK_WITHIN: Duration = Duration::from_secs(3);
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// How safe an acknowledged message is from a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On the disk of one machine at least.
    Synced,
    /// In the memory of several machines.
    Replicated,
    /// In the memory of one machine: a power cut loses what came in the last minutes.
    Unsynced,
    /// One machine that would not say.
    Unknown,
}

#[derive(Deserialize)]
struct Varz {
    jetstream: Option<JetStream>,
}

#[derive(Deserialize)]
struct JetStream {
    config: Option<JetStreamConfig>,
}

#[derive(Deserialize)]
struct JetStreamConfig {
    #[serde(default)]
    sync_always: bool,
}

/// Finds out, says so in the log, and refuses a production profile that would lose acknowledged messages.
pub async fn check(settings: &Settings, log: &Log) -> Result<Durability, DurabilityError> {
    let replicas = log.end().await.map_err(DurabilityError::Read)?.replicas;
    let synced = match settings.opt_text(names::NATS_MONITOR_URL) {
        Some(url) => ask(url).await,
        None => None,
    };
    let durability = match (synced, replicas) {
        (Some(true), _) => Durability::Synced,
        (_, 2..) => Durability::Replicated,
        (Some(false), _) => Durability::Unsynced,
        (None, _) => Durability::Unknown,
    };
    match (durability, settings.profile()) {
        (Durability::Synced | Durability::Replicated, _) => {
            tracing::info!(?durability, replicas, "acknowledged messages survive a power cut of one machine");
        }
        (Durability::Unsynced | Durability::Unknown, Profile::Development) => {
            tracing::warn!(
                ?durability,
                replicas,
                "a power cut may lose acknowledged messages (kill -9 does not)"
            );
        }
        (Durability::Unsynced, Profile::Production) => {
            return Err(DurabilityError::Unsafe(Unavailable::new(
                "the bus runs on one replica and does not sync what it acknowledges",
                "set jetstream { sync_interval: always } in nats-server's configuration, or provision 3 replicas",
            )));
        }
        (Durability::Unknown, Profile::Production) => {
            return Err(DurabilityError::Unsafe(Unavailable::new(
                "the bus runs on one replica and it cannot be asked whether it syncs what it acknowledges",
                format!("set {PREFIX}{} to its monitoring address", names::NATS_MONITOR_URL),
            )));
        }
    }
    Ok(durability)
}

#[derive(Debug, thiserror::Error)]
pub enum DurabilityError {
    #[error("ask the bus how many replicas the log has")]
    Read(#[source] ReadError),
    #[error("acknowledged messages would not be safe")]
    Unsafe(#[source] Unavailable),
}

/// Whether the server at this monitoring address syncs always; none if it does not say.
async fn ask(url: &str) -> Option<bool> {
    let host = url.strip_prefix("http://")?.split('/').next()?;
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let answer = timeout(ASK_WITHIN, async {
        let address: SocketAddr = lookup_host(&host).await.ok()?.next()?;
        let mut stream = TcpStream::connect(address).await.ok()?;
        let request = format!("GET /varz HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await.ok()?;
        Some(answer)
    });
    let answer = answer.await.ok()??;
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| &answer[at + 4..])?;
    let varz: Varz = serde_json::from_slice(body).ok()?;
    Some(varz.jetstream?.config?.sync_always)
}
