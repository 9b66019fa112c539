//! Definitions turned into the server's configuration.
//!
//! Invariant: pure; the same definition and plan give the same configuration.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, Republish, RetentionPolicy, StorageType};
use bus_schema::stream::{BucketDef, ObjectsDef, StreamDef};

use super::Plan;

/// Headers of a message beside its payload.
const HEADER_BYTES_MAX: usize = 4 * 1024;
/// A value of a bucket is a record of configuration at most.
const VALUE_BYTES_MAX: i32 = 1024 * 1024;

/// A log: kept for ever, refusing what does not fit, republished, readable directly, written in batches.
pub(super) fn log(def: &StreamDef, plan: &Plan) -> Config {
    Config {
        name: def.name.clone(),
        description: Some("a shard's log: the only truth".to_owned()),
        subjects: def.subjects.clone(),
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        num_replicas: plan.replicas,
        max_bytes: i64::try_from(plan.log_bytes_max).unwrap_or(i64::MAX),
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        max_message_size: i32::try_from(def.message_bytes_max + HEADER_BYTES_MAX).unwrap_or(i32::MAX),
        duplicate_window: Duration::from_millis(def.duplicate_window_ms),
        republish: Some(Republish {
            source: def.republish.0.clone(),
            destination: def.republish.1.clone(),
            headers_only: false,
        }),
        allow_direct: true,
        allow_atomic_publish: true,
        ..Config::default()
    }
}

/// A bucket, as key-value clients expect it.
pub(super) fn bucket(def: &BucketDef, plan: &Plan) -> Config {
    let marker = Some(def.marker_ttl_ms).filter(|ms| *ms > 0).map(Duration::from_millis);
    let max_age = Duration::from_millis(def.max_age_ms);
    Config {
        name: format!("KV_{}", def.name),
        description: Some(def.description.to_owned()),
        subjects: vec![format!("$KV.{}.>", def.name)],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        num_replicas: plan.replicas,
        max_bytes: -1,
        max_messages: -1,
        max_messages_per_subject: def.history,
        max_consumers: -1,
        max_message_size: VALUE_BYTES_MAX,
        max_age,
        duplicate_window: match max_age {
            Duration::ZERO => Duration::from_secs(120),
            age => age.min(Duration::from_secs(120)),
        },
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        allow_message_ttl: marker.is_some(),
        subject_delete_marker_ttl: marker,
        ..Config::default()
    }
}

/// An object store, as clients of such expect it.
pub(super) fn objects(def: &ObjectsDef, plan: &Plan) -> Config {
    Config {
        name: def.stream(),
        description: Some(def.description.to_owned()),
        subjects: vec![def.chunks(">"), def.about(">")],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        num_replicas: plan.replicas,
        max_bytes: i64::try_from(plan.files_bytes_max).unwrap_or(i64::MAX),
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        max_message_size: VALUE_BYTES_MAX,
        duplicate_window: Duration::from_secs(120),
        allow_rollup: true,
        allow_direct: true,
        ..Config::default()
    }
}
