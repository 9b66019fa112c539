//! Keeps the lease of a shard, as [`crate::steps::Holding`] says.

use std::time::Duration;

use bus_schema::{
    IncarnationId,
    stream::{LEASE_REFRESH_MS, LEASE_TTL_MS, router_lease},
};
use ops::kv::{Kv, KvError};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use super::{
    Options, Turns,
    feed::{Fed, Feed, tell},
};
use crate::steps::{Holder, Holding, LeaseAsk as Ask, LeaseNext as Next, Role, Wrote};

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
    let key = router_lease(options.shard);
    let mut holding = Holding::new(Holder { incarnation, place: options.place });
    let mut tick = interval(Duration::from_millis(LEASE_REFRESH_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let mut ask = holding.due();
        let role = loop {
            match put(&kv, &key, &mut holding, ask).await {
                Next::Ask(next) => ask = next,
                Next::Rest(role) => break role,
            }
        };
        let Some(role) = role else { continue };
        tracing::info!(?role, shard = %options.shard, "the lease decides");
        if tell(&feed, Fed::Role(role)).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn put(kv: &Kv, key: &str, holding: &mut Holding, ask: Ask) -> Next {
    let ttl = Duration::from_millis(LEASE_TTL_MS);
    let value = serde_json::to_vec(holding.me()).expect("an id and a text are JSON");
    let wrote = match ask {
        Ask::Create => kv.create(key, value, Some(ttl)).await,
        Ask::Update(revision) => kv.update_for(key, value, revision, ttl).await,
        Ask::Look => match kv.get(key).await {
            Ok(entry) => {
                return holding
                    .looked(entry.map(|entry| (entry.revision, serde_json::from_slice(&entry.value).ok())));
            }
            Err(error) => Err(error),
        },
    };
    holding.wrote(match wrote {
        Ok(revision) => Wrote::Done(revision),
        Err(error) if error.is_mismatch() => Wrote::Mismatch,
        Err(error) => {
            tracing::warn!(%error, "the lease cannot be refreshed");
            Wrote::Failed
        }
    })
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
