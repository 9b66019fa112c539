//! Bans and erasure, as visitors' records say them.
//!
//! Invariant: a visitor who is here when a record bars them is closed by its live copy; where one may have been
//! missed, the records of all who are here are read again.

use std::{sync::Arc, time::Duration};

use async_nats::Subscriber;
use bus_schema::{
    Author, Event, Shard, Subject, TenantId, Timestamp, VisitorId, close::CloseCode, state::VisitorRecord,
    subject,
};
use futures::{FutureExt as _, StreamExt as _};
use ops::log::{Log, ReadError};
use tokio::time::sleep;

use crate::{app::App, clock};

const RETRY: Duration = Duration::from_secs(1);
/// Records in one question.
const ASK_MAX: usize = 512;
/// Live copies taken before the state of the bus is looked at again.
const BURST: usize = 256;

/// What a record says of somebody whose token was made at `issued`.
pub fn barred_by(record: &VisitorRecord, issued: Timestamp, now: Timestamp) -> Option<CloseCode> {
    if record.erased_at.is_some_and(|erased| issued <= erased) {
        Some(CloseCode::Revoked)
    } else if record.is_banned(now) {
        Some(CloseCode::Banned)
    } else {
        None
    }
}

/// Closes the sockets of visitors as they are banned or erased.
pub async fn follow(app: Arc<App>, shard: Shard) {
    let Some(log) = app.core.log(shard).cloned() else { return };
    loop {
        match app.core.bus.client.subscribe(subject::live_visitors(shard)).await {
            Ok(live) => follow_on(&app, &log, live).await,
            Err(error) => tracing::warn!(%error, "the visitors' records cannot be followed"),
        }
        sleep(RETRY).await;
    }
}

async fn follow_on(app: &App, log: &Log, mut live: Subscriber) {
    let mut bus = app.core.bus.state.clone();
    // Those who are here already came before this subscription.
    let mut read: Option<u64> = None;
    loop {
        let generation = bus.borrow_and_update().generation;
        if read != Some(generation) {
            match read_again(app, log).await {
                Ok(()) => read = Some(generation),
                Err(error) => {
                    tracing::debug!(%error, "visitors' records could not be read again; it is tried again");
                    sleep(RETRY).await;
                    continue;
                }
            }
        }
        tokio::select! {
            message = live.next() => {
                let Some(message) = message else { return };
                judge(app, &message.subject, &message.payload);
                for _ in 1..BURST {
                    let Some(Some(message)) = live.next().now_or_never() else { break };
                    judge(app, &message.subject, &message.payload);
                }
            }
            changed = bus.changed() => if changed.is_err() { return },
        }
    }
}

/// Reads the records of all visitors of the shard that are here.
async fn read_again(app: &App, log: &Log) -> Result<(), ReadError> {
    let shard = log.shard();
    let of_shard = |tenant: TenantId| app.core.directory.now().tenant(tenant).map(|t| t.shard) == Some(shard);
    let here = app.connections.visitors().into_iter().filter(|(tenant, _)| of_shard(*tenant));
    let subjects: Vec<String> =
        here.map(|(tenant, visitor)| Subject::Visitor { shard, tenant, visitor }.to_string()).collect();
    for some in subjects.chunks(ASK_MAX) {
        for message in log.last_of(some).await? {
            judge(app, &message.subject, &message.payload);
        }
    }
    Ok(())
}

fn judge(app: &App, subject: &str, payload: &[u8]) {
    let Ok(Subject::Visitor { tenant, visitor, .. }) = Subject::parse(subject) else { return };
    if !app.connections.has(tenant, Author::visitor(visitor)) {
        return;
    }
    match Event::decode(payload) {
        Ok(event) => apply(app, tenant, visitor, event.body.visitor_record()),
        Err(error) => tracing::error!(subject, %error, "a visitor's record cannot be read"),
    }
}

fn apply(app: &App, tenant: TenantId, visitor: VisitorId, record: Option<&VisitorRecord>) {
    let Some(record) = record else { return };
    let now = clock::now();
    app.connections.close_of(tenant, Author::visitor(visitor), |owner| barred_by(record, owner.issued, now));
}

#[cfg(test)]
mod tests {
    use bus_schema::{AgentId, state::Ban};

    use super::*;

    #[test]
    fn a_ban_lasts_until_its_end_and_erasure_bars_older_tokens() {
        let at = Timestamp::from_millis;
        let mut record = VisitorRecord::new(VisitorId::NIL);
        assert_eq!(barred_by(&record, at(10), at(20)), None);
        record.ban = Some(Ban { until: Some(at(30)), by: AgentId::NIL });
        assert_eq!(barred_by(&record, at(10), at(29)), Some(CloseCode::Banned));
        assert_eq!(barred_by(&record, at(10), at(30)), None);
        record.ban = Some(Ban { until: None, by: AgentId::NIL });
        assert_eq!(barred_by(&record, at(10), at(1_000)), Some(CloseCode::Banned));
        record.erased_at = Some(at(10));
        assert_eq!(barred_by(&record, at(10), at(20)), Some(CloseCode::Revoked));
        record.ban = None;
        assert_eq!(barred_by(&record, at(11), at(20)), None, "a token made after it is another visitor's");
    }
}
