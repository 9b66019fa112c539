//! Keeping the index as the bucket `config` has it.
//!
//! Invariant: the first index is the whole bucket; later ones follow every change, in order, with older revisions of
//! a record ignored.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bus_schema::{
    AgentId, TenantId,
    config::{AgentRecord, Record},
    protocol::{ConfigChanged, ConfigOp},
    stream,
};
use ops::{
    kv::{Change, Kv, KvError, Watch},
    service::Context,
};
use tokio::time::sleep;

use crate::{core::Core, desk::floor::Ask};

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
                        let mut news = vec![apply(&mut records, change)];
                        // A tenant that is set up writes many records at once.
                        let end = tokio::time::Instant::now() + COALESCE;
                        while let Ok(Ok(change)) = tokio::time::timeout_at(end, watch.next()).await {
                            news.push(apply(&mut records, change));
                        }
                        core.directory.set(&records);
                        for news in news.into_iter().flatten() {
                            tell(&core, news);
                        }
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

/// A record that changed.
struct News {
    tenant: TenantId,
    changed: ConfigChanged,
    /// Whom others see otherwise now.
    person: Option<AgentId>,
}

/// Takes a change over; gives what is news, which an older revision is not.
fn apply(records: &mut BTreeMap<String, Record>, change: Change) -> Option<News> {
    let Some(value) = change.value else {
        let gone = records.remove(&change.key)?;
        return Some(news(&gone, ConfigOp::Deleted, None));
    };
    let record = match Record::decode(&change.key, &value) {
        Ok(record) => record,
        Err(error) => {
            tracing::error!(%error, "a configuration record cannot be read and is ignored");
            return None;
        }
    };
    let known = records.get(&change.key);
    if known.is_some_and(|known| known.revision() > record.revision() || *known == record) {
        return None;
    }
    let op = if record.is_deleted() { ConfigOp::Deleted } else { ConfigOp::Put };
    let person = match (&record, known) {
        (Record::Agent(new), Some(Record::Agent(old))) => {
            let seen =
                |agent: &AgentRecord| (agent.name.clone(), agent.avatar_url.clone(), agent.job_title.clone());
            (seen(new) != seen(old)).then_some(new.agent_id)
        }
        _ => None,
    };
    let news = news(&record, op, person);
    records.insert(change.key, record);
    Some(news)
}

fn news(record: &Record, op: ConfigOp, person: Option<AgentId>) -> News {
    let changed = ConfigChanged {
        entity: record.entity().to_owned(),
        id: record.id(),
        op,
        revision: record.revision(),
    };
    News { tenant: record.tenant_id(), changed, person }
}

fn tell(core: &Core, news: News) {
    core.floors.tell(news.tenant, Ask::Config(news.changed));
    if let Some(agent) = news.person {
        core.floors.tell(news.tenant, Ask::Person(agent));
    }
}
