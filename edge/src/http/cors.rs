//! Cross-origin calls: from pages that some widget or console lists, and no others.
//!
//! What a page may do with a certain widget is checked again by the handlers, against exactly that widget's list.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use bus_schema::ErrorCode;

use super::Problem;
use crate::{app::App, directory::Origin};

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, OPTIONS");
const HEADERS: HeaderValue = HeaderValue::from_static("authorization, content-type, x-request-id");
const EXPOSED: HeaderValue = HeaderValue::from_static("x-request-id, retry-after");
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Whether some widget or console lists the page's origin.
pub fn is_known(app: &App, origin: &Origin) -> bool {
    app.core.directory.now().lists_origin(origin) || origin.is_in(&app.open_origins)
}

pub async fn cors(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let origin = Origin::of(request.headers());
    if !is_known(&app, &origin) {
        return Problem::from(ErrorCode::OriginNotAllowed).into_response();
    }
    let allowed = request.headers().get(header::ORIGIN).cloned();
    let mut response = if request.method() == Method::OPTIONS && allowed.is_some() {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    if let Some(allowed) = allowed {
        allow(response.headers_mut(), allowed);
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
    response
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
}
