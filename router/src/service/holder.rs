//! The lease that keeps one router of a shard working.
//!
//! For efficiency alone: a router that believes to hold it and does not is refused by the log, write by write.

use std::time::Duration;

use bus_schema::{
    IncarnationId,
    stream::{LEASE_REFRESH_MS, LEASE_TTL_MS, router_lease},
};
use ops::kv::{Kv, KvError};
use serde::{Deserialize, Serialize};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use super::{
    Options, Turns,
    feed::{Fed, Feed, tell},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Active,
    StandBy,
}

/// What the lease says of its holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    incarnation: IncarnationId,
    place: String,
}

/// Takes the lease when it is free and keeps it while it can; tells the loop of every change.
pub async fn hold(
    kv: Kv,
    options: Options,
    incarnation: IncarnationId,
    feed: Feed,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    if options.turns == Turns::Together {
        let _the_loop_may_be_gone = tell(&feed, Fed::Role(Role::Active)).await;
        return Ok(());
    }
    let lease =
        Lease { kv, key: router_lease(options.shard), holder: Holder { incarnation, place: options.place } };
    let mut revision = None;
    let mut said = None;
    let mut tick = interval(Duration::from_millis(LEASE_REFRESH_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        match lease.refresh(revision).await {
            Ok(new) => revision = new,
            // Nobody else can take it either while the bus is away.
            Err(error) => {
                tracing::warn!(%error, "the lease cannot be refreshed");
                continue;
            }
        }
        let role = if revision.is_some() { Role::Active } else { Role::StandBy };
        if said != Some(role) {
            tracing::info!(?role, shard = %options.shard, "the lease decides");
            said = Some(role);
            if tell(&feed, Fed::Role(role)).await.is_err() {
                break;
            }
        }
    }
    Ok(())
}

/// Gives the lease up, so that the next need not wait for its end.
pub async fn give_up(kv: &Kv, options: &Options, incarnation: IncarnationId) -> Result<(), KvError> {
    let key = router_lease(options.shard);
    let entry = kv.get(&key).await?;
    let mine = entry.and_then(|entry| serde_json::from_slice::<Holder>(&entry.value).ok());
    match mine {
        Some(holder) if holder.incarnation == incarnation => kv.delete(&key).await,
        _ => Ok(()),
    }
}

struct Lease {
    kv: Kv,
    key: String,
    holder: Holder,
}

impl Lease {
    /// The revision under which this process holds the lease now; none where another does.
    async fn refresh(&self, held: Option<u64>) -> Result<Option<u64>, KvError> {
        let ttl = Duration::from_millis(LEASE_TTL_MS);
        let value = serde_json::to_vec(&self.holder).expect("an id and a text are JSON");
        let outcome = match held {
            Some(revision) => self.kv.update_for(&self.key, value.clone(), revision, ttl).await,
            None => self.kv.create(&self.key, value.clone(), Some(ttl)).await,
        };
        match outcome {
            Ok(revision) => return Ok(Some(revision)),
            Err(error) if error.is_mismatch() => {}
            Err(error) => return Err(error),
        }
        let Some(entry) = self.kv.get(&self.key).await? else { return Ok(None) };
        let theirs: Option<Holder> = serde_json::from_slice(&entry.value).ok();
        // Its own, stored by a write whose answer was lost; or of the process that was in this place before.
        let ours = theirs.is_some_and(|theirs| theirs.place == self.holder.place);
        if !ours {
            return Ok(None);
        }
        match self.kv.update_for(&self.key, value, entry.revision, ttl).await {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if error.is_mismatch() => Ok(None),
            Err(error) => Err(error),
        }
    }
}
