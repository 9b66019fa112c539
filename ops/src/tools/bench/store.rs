//! Whether what was acknowledged is stored: in the log, and in Postgres once persister has reached it.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bus_schema::{Shard, TenantId};
use serde::Deserialize;
use tokio_postgres::NoTls;

use super::ledger::Ledger;
use crate::log::Log;

const PAGE: usize = 1_024;
const POLL: Duration = Duration::from_millis(100);
/// How long persister may take to reach the end of a run.
const DATABASE_WITHIN: Duration = Duration::from_secs(120);

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, default)]
    client_id: std::borrow::Cow<'a, str>,
}

/// Marks what the log holds from `from` on. Answers with the last sequence, and the mean size of what was stored.
pub async fn mark_log(log: &Log, tenant: TenantId, from: u64, ledger: &Ledger) -> anyhow::Result<(u64, u64)> {
    let Shard(shard) = log.shard();
    let filter = format!("chat.v1.{shard}.{tenant}.conversation.*.all.msg");
    let (mut next, mut bytes, mut count) = (from, 0, 0);
    loop {
        let page = log.read(&filter, next, PAGE).await?;
        let Some(last) = page.last() else { break };
        next = last.seq + 1;
        for message in &page {
            if let Ok(named) = serde_json::from_slice::<Named<'_>>(&message.payload)
                && named.client_id.starts_with(ledger.prefix())
            {
                ledger.in_log(&named.client_id, message.seq);
                bytes += message.payload.len() as u64;
                count += 1;
            }
        }
    }
    Ok((next.saturating_sub(1), bytes.checked_div(count).unwrap_or(0)))
}

/// Marks what Postgres holds, once it holds all up to `until`. Answers with how long that took.
pub async fn mark_database(
    url: &str,
    tenant: TenantId,
    (from, until): (u64, u64),
    ledger: &Ledger,
) -> anyhow::Result<Duration> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.context("cannot connect to Postgres")?;
    let connection = tokio::spawn(connection);
    let (from, until) = (i64::try_from(from)?, i64::try_from(until)?);
    let began = Instant::now();
    loop {
        let row = client.query_opt("SELECT max(seq) FROM chat.watermark", &[]).await?;
        let reached = row.and_then(|row| row.get::<_, Option<i64>>(0)).unwrap_or(0);
        if reached >= until || began.elapsed() > DATABASE_WITHIN {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    let took = began.elapsed();
    let find = "SELECT client_id FROM chat.events \
                WHERE tenant_id = $1 AND seq >= $2 AND kind = 'message' AND client_id LIKE $3";
    let like = format!("{}%", ledger.prefix());
    for row in client.query(find, &[&tenant.uuid(), &from, &like]).await? {
        ledger.in_database(row.get(0));
    }
    drop(client);
    // It ends with its client; an error of it would have shown in a query.
    let _ = connection.await;
    Ok(took)
}
