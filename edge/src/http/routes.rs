//! The one table of the edge's HTTP: the router, the documentation and the tests all come from it.
//!
//! Invariant: besides pages, scripts and documentation nothing is reached that is not in this table, and nobody whom its
//! line does not let in.

use std::sync::Arc;

use axum::{
    Router,
    handler::Handler,
    http::{Method, StatusCode},
    middleware::from_fn_with_state,
    routing::{MethodFilter, MethodRouter, on},
};
use tower_http::{limit::RequestBodyLimitLayer, timeout::TimeoutLayer};

pub use super::guard::Access;
use super::{attachments, conversations, cors, guard::guard, healthz, not_allowed, upgrade, widget};
use crate::app::App;

/// A session's body is small; nothing here takes more.
const BODY_BYTES_MAX: usize = 64 * 1024;
const REQUEST_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);

/// What stands before a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// The page's origin is looked at; size and time of the request are bounded.
    Bounds,
    /// The page's origin is looked at; the handler bounds what it streams.
    Origin,
    /// Nothing: it looks for itself.
    Nothing,
}

/// A line of the table.
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
    /// Its name in the documentation.
    pub name: &'static str,
    before: Before,
    handler: MethodRouter<Arc<App>>,
}

/// Every route there is.
#[rustfmt::skip]
pub fn table() -> Vec<Route> {
    use Access::{Both, Public, Visitor};
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    const PUT: Method = Method::PUT;
    vec![
        route(POST, "/v1/widget/session", Public, "widget_session", widget::session),
        route(GET, "/v1/widget/config/{widget_key}", Public, "widget_config", widget::config),
        route(GET, "/v1/conversations/{id}", Both, "conversation", conversations::get),
        route(GET, "/v1/conversations/{id}/events", Both, "events", conversations::events),
        route(PUT, "/v1/conversations/{id}/rate", Visitor, "rate", conversations::rate),
        route(POST, "/v1/conversations/{id}/attachments", Both, "upload", attachments::upload).after(Before::Origin),
        // What its link says is all that it asks for.
        route(GET, "/v1/attachments/{id}", Public, "attachment", attachments::download).after(Before::Origin),
        // A token comes in its first frame.
        route(GET, "/v1/ws", Public, "socket", upgrade::upgrade).after(Before::Nothing),
        route(GET, "/healthz", Public, "healthz", healthz).after(Before::Nothing),
    ]
}

fn route<H, T>(method: Method, path: &'static str, access: Access, name: &'static str, handler: H) -> Route
where
    H: Handler<T, Arc<App>>,
    T: 'static,
{
    let filter = MethodFilter::try_from(method.clone()).expect("the table uses ordinary methods");
    Route { method, path, access, name, before: Before::Bounds, handler: on(filter, handler) }
}

impl Route {
    fn after(self, before: Before) -> Self {
        Self { before, ..self }
    }
}

/// The router of the table.
pub(super) fn router(app: &Arc<App>) -> Router<Arc<App>> {
    let mut table = table();
    let mut of = |before| {
        let those = table.extract_if(.., |route| route.before == before);
        let router = those.fold(Router::new(), |router, route| {
            let guard = from_fn_with_state((app.clone(), route.access), guard);
            router.route(route.path, route.handler.route_layer(guard))
        });
        router.method_not_allowed_fallback(not_allowed)
    };
    let cors = || from_fn_with_state(app.clone(), cors::cors);
    let bounded = of(Before::Bounds)
        .layer(cors())
        .layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX))
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, REQUEST_TIMEOUT));
    bounded.merge(of(Before::Origin).layer(cors())).merge(of(Before::Nothing))
}
