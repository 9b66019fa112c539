//! Publishing public keys on the bus, and keeping a key set as the bus has it.
//!
//! Invariant: only a record that is a whole, rightly named key enters the set; a copy on disk is used only until
//! the bus has answered.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bus_schema::stream;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::sleep;

use super::{Audience, KeySet, PublicKey, SigningKey};
use crate::{
    health::Check,
    kv::{Change, Kv, KvError, Watch},
    nats::Bus,
    service::Context,
};

/// The readiness check that `follow` keeps.
pub const KEYS_CHECK: &str = "keys";
/// Between tries to reach the bucket.
const RETRY: Duration = Duration::from_secs(1);

/// Makes a key's public half known; one that is there already stays as it is.
pub async fn publish(bus: &Bus, audience: Audience, key: &SigningKey) -> Result<(), KvError> {
    let bucket = Kv::open(bus, stream::KEYS).await?;
    let name = format!("{}.{}", audience.name(), key.public().kid());
    match bucket.create(&name, key.public().to_json(), None).await {
        Err(error) if error.is_mismatch() => Ok(()),
        done => done.map(|_| ()),
    }
}

/// A key set that follows the bucket of keys until shutdown. With `cache`, the last known keys are kept in that
/// directory, and count until the bus has answered. The check passes once there is a key for staff.
pub async fn follow(context: &Context, bus: &Bus, cache: Option<&Path>) -> Result<Arc<KeySet>, KvError> {
    let follower = Follower {
        keys: Arc::new(KeySet::default()),
        check: context.health.check(KEYS_CHECK),
        cache: cache.map(|directory| directory.join("keys.json")),
        bus: bus.clone(),
    };
    if let Some(path) = &follower.cache {
        read_cache(path, &follower.keys);
    }
    let watch = match follower.begin().await {
        Ok(watch) => Some(watch),
        Err(error) if follower.keys.is_empty(Audience::Staff) => return Err(error),
        Err(error) => {
            tracing::warn!(%error, "starting with the public keys that are on disk");
            follower.check.ok();
            None
        }
    };
    let keys = follower.keys.clone();
    let shutdown = context.shutdown.clone();
    context.spawn("follow the public keys", async move {
        shutdown.run_until_cancelled(follower.run(watch)).await;
        Ok(())
    });
    Ok(keys)
}

struct Follower {
    keys: Arc<KeySet>,
    check: Check,
    cache: Option<PathBuf>,
    bus: Bus,
}

impl Follower {
    /// Takes over everything that the bucket holds, and forgets what it does not.
    async fn begin(&self) -> Result<Watch, KvError> {
        let mut watch = Kv::open(&self.bus, stream::KEYS).await?.watch(">").await?;
        let mut there = BTreeSet::new();
        while !watch.is_current() {
            let change = watch.next().await?;
            if change.value.is_some() {
                there.insert(change.key.clone());
            }
            apply(&self.keys, change);
        }
        for audience in Audience::ALL {
            self.keys.retain(audience, |kid| there.contains(&format!("{}.{kid}", audience.name())));
        }
        self.settle();
        Ok(watch)
    }

    async fn run(&self, mut watch: Option<Watch>) {
        loop {
            let Some(following) = &mut watch else {
                match self.begin().await {
                    Ok(begun) => watch = Some(begun),
                    Err(_) => sleep(RETRY).await,
                }
                continue;
            };
            match following.next().await {
                Ok(change) => {
                    apply(&self.keys, change);
                    self.settle();
                }
                // The watch itself waited between its tries; the keys that are known go on counting.
                Err(error) => tracing::warn!(%error, "the public keys cannot be followed"),
            }
        }
    }

    fn settle(&self) {
        if self.keys.is_empty(Audience::Staff) {
            self.check.fail("no staff key on the bus: admin-api publishes it when it starts");
        } else {
            self.check.ok();
        }
        if let Some(path) = &self.cache
            && let Err(error) = write_cache(path, &self.keys)
        {
            tracing::warn!(%error, path = %path.display(), "the public keys cannot be kept on disk");
        }
    }
}

pub(super) fn apply(keys: &KeySet, change: Change) {
    let Some((audience, kid)) = Audience::ALL
        .into_iter()
        .find_map(|audience| Some((audience, change.key.strip_prefix(audience.name())?.strip_prefix('.')?)))
    else {
        tracing::warn!(key = change.key, "the bucket of keys holds something else");
        return;
    };
    match change.value.map(|value| PublicKey::from_json(&value)) {
        None => keys.remove(audience, kid),
        Some(Ok(key)) if key.kid() == kid => keys.add(audience, key),
        Some(Ok(_) | Err(_)) => {
            tracing::error!(key = change.key, "a public key on the bus is malformed and ignored")
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Cache {
    staff: Vec<Box<RawValue>>,
    visitor: Vec<Box<RawValue>>,
}

fn read_cache(path: &Path, keys: &KeySet) {
    let cache = std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Cache>(&bytes).ok());
    let Some(cache) = cache else { return };
    for (audience, records) in [(Audience::Staff, cache.staff), (Audience::Visitor, cache.visitor)] {
        for key in records.iter().filter_map(|record| PublicKey::from_json(record.get().as_bytes()).ok()) {
            keys.add(audience, key);
        }
    }
}

fn write_cache(path: &Path, keys: &KeySet) -> io::Result<()> {
    let records = |audience| -> Vec<Box<RawValue>> {
        let keys = keys.keys(audience).into_iter();
        keys.filter_map(|key| RawValue::from_string(String::from_utf8(key.to_json()).ok()?).ok()).collect()
    };
    let cache = Cache { staff: records(Audience::Staff), visitor: records(Audience::Visitor) };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let beside = path.with_extension("new");
    std::fs::write(&beside, serde_json::to_vec(&cache)?)?;
    std::fs::rename(&beside, path)
}
