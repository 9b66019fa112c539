//! Keeping the index as the bucket `config` has it.
//!
//! Invariant: the first index is the whole bucket; later ones follow every change, in order, with older revisions of
//! a record ignored.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bus_schema::{config::Record, stream};
use ops::{
    kv::{Change, Kv, KvError, Watch},
    service::Context,
};
use tokio::time::sleep;

use crate::core::Core;

const CHECK: &str = "config";
const RETRY: Duration = Duration::from_secs(1);
/// Changes taken before the index is made anew.
const COALESCE: Duration = Duration::from_millis(20);

/// Reads the whole bucket, then follows it until shutdown.
pub async fn follow(ctx: &Context, core: &Arc<Core>) -> anyhow::Result<()> {
    let check = ctx.health.check(CHECK);
    let mut records = BTreeMap::new();
    let mut watch = begin(core, &mut records).await?;
    core.directory.set(&records);
    check.ok();
    let (core, shutdown) = (core.clone(), ctx.shutdown.clone());
    ctx.spawn("follow the configuration", async move {
        let following = async {
            loop {
                match watch.next().await {
                    Ok(change) => {
                        apply(&mut records, change);
                        // A tenant that is set up writes many records at once.
                        let end = tokio::time::Instant::now() + COALESCE;
                        while let Ok(Ok(change)) = tokio::time::timeout_at(end, watch.next()).await {
                            apply(&mut records, change);
                        }
                        core.directory.set(&records);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the configuration cannot be followed now");
                        sleep(RETRY).await;
                    }
                }
            }
        };
        shutdown.run_until_cancelled(following).await;
        Ok(())
    });
    Ok(())
}

async fn begin(core: &Core, records: &mut BTreeMap<String, Record>) -> Result<Watch, KvError> {
    let mut watch = Kv::open(&core.bus, stream::CONFIG).await?.watch(">").await?;
    while !watch.is_current() {
        let change = watch.next().await?;
        apply(records, change);
    }
    Ok(watch)
}

fn apply(records: &mut BTreeMap<String, Record>, change: Change) {
    let Some(value) = change.value else {
        records.remove(&change.key);
        return;
    };
    match Record::decode(&change.key, &value) {
        Ok(record) => {
            let older = records.get(&change.key).is_some_and(|known| known.revision() > record.revision());
            if !older {
                records.insert(change.key, record);
            }
        }
        Err(error) => tracing::error!(%error, "a configuration record cannot be read and is ignored"),
    }
}
