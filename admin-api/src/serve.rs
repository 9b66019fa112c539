//! The public listener and the layers around the table of routes.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use axum::{Router, extract::DefaultBodyLimit, middleware::from_fn, response::IntoResponse, routing::get};
use bus_schema::ErrorCode;
use ops::{
    service::{Context, Unavailable},
    settings::names,
};
use tokio::net::TcpListener;
use utoipa_swagger_ui::SwaggerUi;

use crate::{
    app::App,
    http::{Problem, cors, finish},
    openapi,
    routes::{self, router},
};

const DOCS: &str = "/docs";
const OPENAPI: &str = "/openapi.json";

/// Everything that is served on the public port.
pub fn service(app: &App) -> Router {
    let document = openapi::document(&routes::table());
    let json = serde_json::to_string(&document).expect("an OpenAPI document serializes");
    let openapi = move || {
        let json = json.clone();
        async move { ([(http::header::CONTENT_TYPE, "application/json")], json) }
    };
    let docs = SwaggerUi::new(DOCS).config(utoipa_swagger_ui::Config::from(OPENAPI));
    router(app, routes::table())
        .route(OPENAPI, get(openapi))
        .merge(docs)
        .fallback(async || Problem::from(ErrorCode::NotFound).into_response())
        .layer(DefaultBodyLimit::max(app.body_max))
        .layer(from_fn(finish))
        .layer(cors(app.origins.clone()))
        .with_state(app.clone())
}

pub async fn listen(context: &Context) -> anyhow::Result<TcpListener> {
    let addr = context.settings.addr(names::LISTEN);
    TcpListener::bind(addr).await.map_err(|error| {
        Unavailable::new(
            format!("cannot listen on {addr}: {error}"),
            format!("free the port, or set CHATBUS_{} or CHATBUS_{}", names::LISTEN, names::INSTANCE),
        )
        .into()
    })
}

/// Serves until shutdown, and lets requests under way end.
pub async fn serve(context: &Context, listener: TcpListener, app: &App) -> anyhow::Result<()> {
    tracing::info!(addr = %listener.local_addr()?, "public listener is up");
    let service = service(app).into_make_service_with_connect_info::<SocketAddr>();
    let shutdown = context.shutdown.clone();
    let drained = async move {
        shutdown.cancelled().await;
        // Load balancers need a moment to see that we are not ready.
        tokio::time::sleep(DRAIN_PAUSE).await;
    };
    axum::serve(listener, service).with_graceful_shutdown(drained).await.context("serve")
}

const DRAIN_PAUSE: Duration = Duration::from_millis(200);
