//! Leaving: every client is told, answered, and sent elsewhere, spread over time.
//!
//! Invariant: it ends within half the grace time, with every socket closed.

use std::{sync::Arc, time::Duration};

use bus_schema::{close::CloseCode, protocol::Closing};
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{app::App, conn::Conn};

/// How often a client's unanswered requests are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Clients reconnect within this time, each at its own moment.
const SPREAD_MAX: Duration = Duration::from_secs(5);

pub async fn drain(app: &Arc<App>, grace: Duration) {
    let connections = app.connections.all();
    if connections.is_empty() {
        return;
    }
    let end = Instant::now() + grace / 2;
    let spread = SPREAD_MAX.min(grace / 2);
    tracing::info!(connections = connections.len(), "telling all clients to go elsewhere");
    for conn in &connections {
        let after_ms = spread.mul_f64(rand::random_range(0.0..1.0)).as_millis();
        let after_ms = u64::try_from(after_ms).unwrap_or(u64::MAX);
        conn.push("closing", Closing { reason: "shutdown".to_owned(), reconnect: true, after_ms });
    }
    let closing: FuturesUnordered<_> = connections.iter().map(|conn| close(conn, end)).collect();
    let _ = timeout_at(end + LOOK_EVERY, closing.collect::<Vec<()>>()).await;
}

/// Closes once everything that was asked is answered, or the time is over.
async fn close(conn: &Conn, end: Instant) {
    while conn.in_flight() > 0 && Instant::now() < end {
        sleep(LOOK_EVERY).await;
    }
    conn.outbox.close(CloseCode::Shutdown);
    let _ = timeout_at(end, conn.gone()).await;
}
