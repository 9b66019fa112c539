//! Streams and buckets as data; `ops provision` creates them, services only verify them.

use crate::{Shard, limits, subject};

/// A stream of the log. Nothing here says how to connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamDef {
    pub name: String,
    pub subjects: Vec<String>,
    /// The server republishes what it stored from the first filter to the second.
    pub republish: (String, String),
    pub duplicate_window_ms: u64,
    pub message_bytes_max: usize,
}

/// Metadata key under which a stream keeps the [`crate::Epoch`] that was drawn when it was created.
pub const EPOCH_KEY: &str = "chatbus_epoch";
/// How long the server recognises a repeated `Nats-Msg-Id`: an optimisation, never relied upon.
pub const DUPLICATE_WINDOW_MS: u64 = 120_000;

/// The log of one shard: never trimmed by the server (`discard: new`), direct reads and atomic batches allowed.
pub fn log(shard: Shard) -> StreamDef {
    StreamDef {
        name: log_name(shard),
        subjects: vec![subject::stored_in_shard(shard)],
        republish: (subject::stored_in_shard(shard), subject::live_of_shard(shard)),
        duplicate_window_ms: DUPLICATE_WINDOW_MS,
        message_bytes_max: limits::STORED_BYTES_MAX,
    }
}

pub fn log_name(shard: Shard) -> String {
    format!("CHAT_{shard}")
}

/// A key-value bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketDef {
    pub name: &'static str,
    pub description: &'static str,
    pub history: i64,
    /// Default time to live of a value; 0 = for ever. Single values may carry a shorter one.
    pub max_age_ms: u64,
    /// Removal by time leaves a marker for this long; 0 = none.
    pub marker_ttl_ms: u64,
}

/// Tenants, widgets, groups and agents as edges and routers need them ([`crate::config`]). Written by admin-api.
pub const CONFIG: BucketDef = BucketDef {
    name: "config",
    description: "configuration for edges and routers",
    history: 1,
    max_age_ms: 0,
    marker_ttl_ms: 0,
};

/// Public keys by `staff.<kid>` and `visitor.<kid>`.
pub const KEYS: BucketDef = BucketDef {
    name: "keys",
    description: "public keys that verify tokens",
    history: 1,
    max_age_ms: 0,
    marker_ttl_ms: 0,
};

/// Leases: `edge.<incarnation>` and `router.<shard>`, refreshed while the holder lives.
pub const LEASES: BucketDef = BucketDef {
    name: "leases",
    description: "who is alive",
    history: 1,
    max_age_ms: 0,
    marker_ttl_ms: 60_000,
};

/// Sessions that were ended before their access tokens expire, by session id.
pub const REVOKED: BucketDef = BucketDef {
    name: "revoked",
    description: "sessions ended early",
    history: 1,
    max_age_ms: 15 * 60_000,
    marker_ttl_ms: 0,
};

/// Small facts about the installation: `horizon.<shard>`, `min_version`.
pub const META: BucketDef = BucketDef {
    name: "meta",
    description: "facts about the installation",
    history: 1,
    max_age_ms: 0,
    marker_ttl_ms: 0,
};

/// Files that are not settled, by `<tenant>.<attachment>` ([`crate::file::Pending`]).
pub const UPLOADS: BucketDef = BucketDef {
    name: "uploads",
    description: "files that no event names yet, and files that go",
    history: 1,
    max_age_ms: 0,
    marker_ttl_ms: 60_000,
};

/// Files that events name, by `<tenant>.<attachment>` ([`crate::file::FileRecord`]).
pub const FILES: BucketDef = BucketDef {
    name: "files",
    description: "which event names a file",
    history: 1,
    max_age_ms: 0,
    marker_ttl_ms: 60_000,
};

/// Erasures under way, by `<tenant>.<visitor>` ([`crate::erasure::Erasure`]).
pub const ERASURES: BucketDef = BucketDef {
    name: "erasures",
    description: "visitors who are being forgotten",
    history: 1,
    max_age_ms: 0,
    marker_ttl_ms: 60_000,
};

pub const BUCKETS: &[BucketDef] = &[CONFIG, KEYS, LEASES, REVOKED, META, UPLOADS, FILES, ERASURES];

/// An object store: bytes under names, in the layout that NATS clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectsDef {
    pub name: &'static str,
    pub description: &'static str,
}

/// The bytes of files, where no other object store is set.
pub const ATTACHMENTS: ObjectsDef = ObjectsDef { name: "attachments", description: "the bytes of files" };

pub const OBJECTS: &[ObjectsDef] = &[ATTACHMENTS];

impl ObjectsDef {
    /// The stream behind it.
    pub fn stream(&self) -> String {
        format!("OBJ_{}", self.name)
    }

    /// Where the pieces of an object lie, in order.
    pub fn chunks(&self, object: &str) -> String {
        format!("$O.{}.C.{object}", self.name)
    }

    /// Where it is said what an object is; the name is in base64url.
    pub fn about(&self, encoded_name: &str) -> String {
        format!("$O.{}.M.{encoded_name}", self.name)
    }
}

/// An edge refreshes its lease this often, and the lease lives that long without: what a dead edge held is known to be
/// free within the grace time and 5 s.
pub const LEASE_REFRESH_MS: u64 = 1_000;
pub const LEASE_TTL_MS: u64 = 4_000;

/// Key in [`META`] of a shard's horizon: the first sequence from which on its log is whole, in decimal digits. Below it
/// `msg`, `note` and `mark` may be gone, and of `life`, `desk`, `agent` and `visitor` all but the last. It only grows.
pub fn horizon(shard: Shard) -> String {
    format!("horizon.{shard}")
}

/// The value under [`horizon`].
pub fn parse_horizon(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Key of an edge's lease.
pub fn edge_lease(incarnation: crate::IncarnationId) -> String {
    format!("edge.{incarnation}")
}

/// Whose lease a key is, if it is an edge's.
pub fn leased_edge(key: &str) -> Option<crate::IncarnationId> {
    key.strip_prefix("edge.")?.parse().ok()
}

/// Key of the lease that keeps one router per shard working.
pub fn router_lease(shard: Shard) -> String {
    format!("router.{shard}")
}
