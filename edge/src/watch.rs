//! Watching what the edge depends on: the stream, the live path, and how long the bus has been away.

use std::{sync::Arc, time::Duration};

use bus_schema::{close::CloseCode, subject};
use futures::StreamExt as _;
use ops::service::Context;
use tokio::time::{sleep, timeout};

use crate::app::App;

const LOOK_EVERY: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(500);
const ECHO_WAIT: Duration = Duration::from_secs(2);
/// With the bus away for longer, clients are sent to an edge that may have it.
const AWAY_MAX: Duration = Duration::from_secs(10);

/// Keeps the checks `stream` and `live`, and sends clients away when the bus stays away.
pub fn start(ctx: &Context, app: &Arc<App>) {
    let (stream, live) = (ctx.health.check("stream"), ctx.health.check("live"));
    let (watched, shutdown) = (app.clone(), ctx.shutdown.clone());
    ctx.spawn("watch the bus", async move {
        let looking = async {
            loop {
                let missing = missing_stream(&watched).await;
                match &missing {
                    None => stream.ok(),
                    Some(reason) => stream.fail(reason.clone()),
                }
                let echoed = echo(&watched).await;
                if echoed {
                    live.ok()
                } else {
                    live.fail("a message to oneself does not come back")
                }
                sleep(if echoed && missing.is_none() { LOOK_EVERY } else { RETRY }).await;
            }
        };
        shutdown.run_until_cancelled(looking).await;
        Ok(())
    });
    let (watched, shutdown) = (app.clone(), ctx.shutdown.clone());
    ctx.spawn("watch for the bus being away", async move {
        shutdown.run_until_cancelled(send_away(&watched)).await;
        Ok(())
    });
}

async fn missing_stream(app: &App) -> Option<String> {
    for (shard, (log, epoch)) in &app.core.shards {
        match log.epoch().await {
            Ok(now) if now == *epoch => {}
            Ok(_) => return Some(format!("the log of shard {shard} is another one: restart the edge")),
            Err(error) => return Some(format!("the log of shard {shard}: {error}")),
        }
    }
    None
}

/// Whether what is published comes back: the way that live copies take.
async fn echo(app: &App) -> bool {
    let Some(shard) = app.core.shards.keys().next() else { return false };
    let subject = subject::edge_echo(*shard, app.core.incarnation);
    let client = &app.core.bus.client;
    let Ok(mut back) = client.subscribe(subject.clone()).await else { return false };
    if client.publish(subject, "".into()).await.is_err() {
        return false;
    }
    matches!(timeout(ECHO_WAIT, back.next()).await, Ok(Some(_)))
}

async fn send_away(app: &App) {
    let mut state = app.core.bus.state.clone();
    loop {
        if state.wait_for(|state| !state.connected).await.is_err() {
            return;
        }
        if timeout(AWAY_MAX, state.wait_for(|state| state.connected)).await.is_ok() {
            continue;
        }
        for conn in app.connections.all() {
            conn.outbox.close(CloseCode::Unverified);
        }
        if state.wait_for(|state| state.connected).await.is_err() {
            return;
        }
    }
}
