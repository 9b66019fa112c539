//! The operations listener: metrics, liveness, readiness.
//!
//! Invariant: it outlives the service's own listeners, so that a drain can be watched; it changes nothing.

use std::{io, net::SocketAddr};

use axum::{
    Router,
    extract::{RawQuery, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{health::Health, metrics::Metrics};

#[derive(Clone)]
struct Shared {
    health: Health,
    metrics: Metrics,
}

/// Binds at once, so that the address is known and a taken port is an error of the start.
pub(super) async fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(addr).await
}

pub(super) async fn serve(listener: TcpListener, health: Health, metrics: Metrics, stop: CancellationToken) {
    let app = Router::new()
        .route("/metrics", get(render))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .with_state(Shared { health, metrics });
    // Scrapes are short and the process is going: connections still open are dropped.
    stop.run_until_cancelled(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "the operations listener ended");
        }
    })
    .await;
}

async fn render(State(shared): State<Shared>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], shared.metrics.render())
}

async fn readyz(State(shared): State<Shared>, RawQuery(query): RawQuery) -> impl IntoResponse {
    let report = shared.health.report();
    let status = if report.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let verbose =
        query.is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("verbose")));
    let short = if report.is_ready() { "ready\n" } else { "not ready\n" };
    (status, if verbose { report.text() } else { short.to_owned() })
}
