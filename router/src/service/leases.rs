//! Follows edges' leases; what follows from them says [`crate::steps::Edges`].

use std::time::Duration;

use anyhow::Context as _;
use bus_schema::stream::leased_edge;
use ops::kv::Kv;
use tokio::time::{interval, timeout};

use super::feed::{Fed, Feed, tell};
use crate::steps::{Edges, Source};

/// How often all keys are listed.
const LIST_EVERY: Duration = Duration::from_secs(3);
/// A list that takes longer says that the bus does not work.
const LIST_WITHIN: Duration = Duration::from_secs(3);

pub async fn follow(kv: Kv, feed: Feed) -> anyhow::Result<()> {
    let mut watch = kv.watch("edge.*").await.context("watch leases")?;
    let mut edges = Edges::default();
    let mut whole = false;
    let mut tick = interval(LIST_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let mut inputs = Vec::new();
        tokio::select! {
            change = watch.next() => match change {
                Ok(change) => match (leased_edge(&change.key), change.value) {
                    (Some(edge), Some(_)) => inputs.extend(edges.written(edge)),
                    (_, None) => tick.reset_immediately(),
                    (None, Some(_)) => {}
                },
                Err(error) => {
                    tracing::warn!(%error, "leases cannot be followed");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            },
            asked = tick.tick() => match timeout(LIST_WITHIN, kv.keys()).await {
                // A process that was paused meanwhile holds an old list.
                Ok(Ok(_)) if asked.elapsed() > LIST_WITHIN => inputs.extend(edges.unlisted()),
                Ok(Ok(keys)) => {
                    inputs.extend(edges.listed(keys.iter().filter_map(|key| leased_edge(key)).collect()));
                    if !std::mem::replace(&mut whole, true)
                        && tell(&feed, Fed::Whole(Source::Leases)).await.is_err()
                    {
                        return Ok(());
                    }
                }
                Ok(Err(_)) | Err(_) => inputs.extend(edges.unlisted()),
            },
        }
        for input in inputs {
            if tell(&feed, Fed::Input(input)).await.is_err() {
                return Ok(());
            }
        }
    }
}
