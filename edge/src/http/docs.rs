//! What this service answers over HTTP, for programs and for people; both need no outside host.

use axum::{
    Router,
    http::{HeaderName, HeaderValue, header},
    routing::get,
};
use utoipa_swagger_ui::{Config, SwaggerUi};

const DOCS: &str = "/docs";
const OPENAPI: &str = "/openapi.json";
/// A test holds it to what is served.
const DOCUMENT: &str = include_str!("../../../docs/openapi-edge.json");
const HEADERS: [(HeaderName, HeaderValue); 2] = [
    (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
];

pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route(OPENAPI, get(async || (HEADERS, DOCUMENT)))
        .merge(SwaggerUi::new(DOCS).config(Config::from(OPENAPI)))
}
