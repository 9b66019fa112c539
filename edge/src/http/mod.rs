//! The edge's HTTP: the visitor's few calls, and the way to the socket.

mod attachments;
mod conversations;
mod cors;
mod docs;
mod guard;
mod identity;
mod problem;
pub mod routes;
mod serve;
mod upgrade;
pub mod web;
mod widget;

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri},
    middleware,
};
use bus_schema::{
    ConversationId, ErrorBody, ErrorCode, GroupId, TenantId, VisitorId, WidgetId, state::StartSource,
};
use ops::chat::{ProfileChange, Start};
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::App;

pub use problem::Problem;
pub use serve::{listen, serve};

/// `web`: scripts and pages.
pub fn router(app: Arc<App>, web: Router<Arc<App>>) -> Router {
    Router::new()
        .merge(routes::router(&app))
        .merge(web)
        .merge(docs::router())
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(CatchPanicLayer::new())
        .layer(middleware::from_fn(problem::problems))
        .layer(middleware::from_fn(problem::request_id))
        .with_state(app)
}

async fn healthz(State(app): State<Arc<App>>) -> StatusCode {
    if app.health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn not_found(uri: Uri) -> Problem {
    Problem::from(ErrorBody::new(ErrorCode::NotFound, format!("there is nothing at {}", uri.path())))
}

async fn not_allowed() -> Problem {
    let error = ErrorBody::new(ErrorCode::InvalidRequest, "this method is not allowed here");
    Problem::with_status(error, StatusCode::METHOD_NOT_ALLOWED)
}

/// The start of a visitor's thread, with its group resolved: requested, else the widget's, else the tenant's.
pub fn start_of(
    app: &App,
    tenant: TenantId,
    visitor: VisitorId,
    widget: WidgetId,
    requested: Option<GroupId>,
    pointer: &str,
) -> Result<Start, ErrorBody> {
    let index = app.core.directory.now();
    if let Some(group) = requested
        && index.group(tenant, group).is_none()
    {
        return Err(ErrorBody::field(pointer, "there is no such group"));
    }
    let group_id = requested.or_else(|| index.default_group(tenant, widget));
    let conversation = ConversationId::of(tenant, visitor);
    let home = app.core.home(tenant, conversation).ok_or(ErrorCode::NotFound)?;
    let epoch = app.core.epoch(home.shard).ok_or(ErrorCode::Unavailable)?;
    Ok(Start {
        home,
        visitor,
        widget_id: Some(widget),
        group_id,
        profile: ProfileChange { widget_id: Some(widget), ..ProfileChange::default() },
        initial: None,
        source: StartSource::Widget,
        epoch,
        writer: app.core.incarnation,
    })
}
