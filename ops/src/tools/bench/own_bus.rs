//! A bus of a measurement's own: provisioned for one shard, on the loopback address, gone at its end.

use std::path::Path;

use bus_schema::Shard;

use crate::{
    dev::{
        guard::Guarded,
        nats::{NatsSpec, Sync},
        servers::{self, Search},
    },
    log::Log,
    nats::{Options, connect_with},
    provision::{self, Plan},
};

pub const SHARD: Shard = Shard(0);
/// What the log may hold where a measurement says nothing else.
pub const LOG_BYTES_MAX: u64 = 8 << 30;
/// No measurement of its own writes files.
const FILES_BYTES_MAX: u64 = 1 << 20;

pub struct OwnBus {
    pub log: Log,
    pub url: String,
    _server: Guarded,
}

impl OwnBus {
    /// In a directory of that name within `dir`, which outlives it, with a log of at most so many bytes.
    pub async fn start(name: &str, dir: &Path, sync: Sync, log_bytes_max: u64) -> anyhow::Result<Self> {
        // Looking may fetch: not on a runtime's thread.
        let program = tokio::task::spawn_blocking(|| servers::nats(&Search::from_env())).await??.path;
        let mut spec = NatsSpec {
            program,
            dir: dir.join("nats"),
            name: name.to_owned(),
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
        let plan = Plan { shards: vec![SHARD], replicas: 1, log_bytes_max, files_bytes_max: FILES_BYTES_MAX };
        provision::apply(&bus, &plan).await?;
        Ok(Self { log: Log::new(bus, SHARD), url, _server: server.process })
    }
}
