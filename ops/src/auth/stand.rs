//! Public keys that come and go: who signs with one says so again and again, and one that nobody stands by goes.
//!
//! Invariant: a key leaves the bucket only when no token that it signed can still count.

use std::collections::BTreeSet;

use bus_schema::{Timestamp, stream};

use super::{Audience, KeySet, PublicKey, SigningKey, follow::apply};
use crate::{
    kv::{Kv, KvError},
    nats::Bus,
};

/// Makes a key's public half known, and says that it signs now.
pub async fn affirm(bus: &Bus, audience: Audience, key: &SigningKey, now: Timestamp) -> Result<(), KvError> {
    let bucket = Kv::open(bus, stream::KEYS).await?;
    bucket.put(&record(audience, key.public().kid()), key.public().to_json_signing(now)).await.map(drop)
}

/// Takes the keys away that nobody has said to sign with since `before`; how many. What an older version published
/// says nothing, and stays.
pub async fn forget_unused(bus: &Bus, audience: Audience, before: Timestamp) -> Result<u64, KvError> {
    let bucket = Kv::open(bus, stream::KEYS).await?;
    let prefix = record(audience, "");
    let mut gone = 0;
    for key in bucket.keys().await?.iter().filter(|key| key.starts_with(&prefix)) {
        let Some(entry) = bucket.get(key).await? else { continue };
        if PublicKey::signs_at(&entry.value).is_none_or(|at| at >= before) {
            continue;
        }
        match bucket.delete_at(key, entry.revision).await {
            Ok(()) => gone += 1,
            // Somebody stands by it after all.
            Err(error) if error.is_mismatch() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(gone)
}

/// Keeps a set of keys as the bucket has them, until the bucket cannot be watched. Keys that `is_own` names stay,
/// whatever the bucket says.
pub async fn follow_into(
    keys: &KeySet,
    bus: &Bus,
    audience: Audience,
    is_own: impl Fn(&str) -> bool,
) -> Result<(), KvError> {
    let prefix = record(audience, "");
    let mut watch = Kv::open(bus, stream::KEYS).await?.watch(&format!("{}.*", audience.name())).await?;
    let mut there = BTreeSet::new();
    let mut current = false;
    loop {
        if !current && watch.is_current() {
            keys.retain(audience, |kid| is_own(kid) || there.contains(kid));
            current = true;
        }
        let change = watch.next().await?;
        let Some(kid) = change.key.strip_prefix(&prefix).map(str::to_owned) else { continue };
        let gone = change.value.is_none();
        if gone && is_own(&kid) {
            continue;
        }
        if !gone {
            there.insert(kid);
        }
        apply(keys, change);
    }
}

fn record(audience: Audience, kid: &str) -> String {
    format!("{}.{kid}", audience.name())
}
