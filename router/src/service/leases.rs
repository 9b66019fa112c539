//! Edges' leases, and whether the bus can be asked about them at all.
//!
//! Invariant: an edge counts as gone only when a whole list of the keys was read without it; a marker that a lease
//! expired is only a hint to look.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context as _;
use bus_schema::IncarnationId;
use ops::kv::Kv;
use tokio::time::{interval, timeout};

use super::feed::{Fed, Feed, Source, tell};
use crate::routing::Input;

/// How often all keys are listed.
const LIST_EVERY: Duration = Duration::from_secs(3);
/// A list that takes longer says that the bus does not work.
const LIST_WITHIN: Duration = Duration::from_secs(3);
const PREFIX: &str = "edge.";

pub async fn follow(kv: Kv, feed: Feed) -> anyhow::Result<()> {
    let mut watch = kv.watch("edge.*").await.context("watch leases")?;
    let mut alive: BTreeSet<IncarnationId> = BTreeSet::new();
    let mut works = true;
    let mut whole = false;
    let mut tick = interval(LIST_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let mut inputs = Vec::new();
        tokio::select! {
            change = watch.next() => match change {
                Ok(change) => {
                    let incarnation = incarnation(&change.key);
                    match (incarnation, change.value) {
                        (Some(edge), Some(_)) if alive.insert(edge) => {
                            inputs.push(Input::Lease { incarnation: edge, alive: true });
                        }
                        (_, None) => tick.reset_immediately(),
                        (_, Some(_)) => {}
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "leases cannot be followed");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            },
            _ = tick.tick() => match timeout(LIST_WITHIN, kv.keys()).await {
                Ok(Ok(keys)) => {
                    if !std::mem::replace(&mut works, true) {
                        inputs.push(Input::BusWorks);
                    }
                    let listed: BTreeSet<IncarnationId> =
                        keys.iter().filter_map(|key| incarnation(key)).collect();
                    let gone = alive.difference(&listed);
                    inputs.extend(gone.map(|edge| Input::Lease { incarnation: *edge, alive: false }));
                    let came = listed.difference(&alive);
                    inputs.extend(came.map(|edge| Input::Lease { incarnation: *edge, alive: true }));
                    alive = listed;
                    if !std::mem::replace(&mut whole, true)
                        && tell(&feed, Fed::Whole(Source::Leases)).await.is_err()
                    {
                        return Ok(());
                    }
                }
                Ok(Err(_)) | Err(_) => {
                    if std::mem::replace(&mut works, false) {
                        inputs.push(Input::BusDown);
                    }
                }
            },
        }
        for input in inputs {
            if tell(&feed, Fed::Input(input)).await.is_err() {
                return Ok(());
            }
        }
    }
}

fn incarnation(key: &str) -> Option<IncarnationId> {
    key.strip_prefix(PREFIX)?.parse().ok()
}
