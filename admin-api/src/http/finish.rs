//! The outermost layer of every request: its id, its time limit, its panics, and the bytes of its problem.
//!
//! Invariant: whatever goes wrong, and wherever, the answer is a problem with the request's id.

use std::{
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use bus_schema::{ErrorCode, problem::MEDIA_TYPE};
use futures::FutureExt as _;
use http::{HeaderValue, Method, StatusCode, header};

use super::{Problem, RequestId, request_id};
use crate::metrics;

/// No request takes longer.
pub(super) const REQUEST_MAX: Duration = Duration::from_secs(20);

/// Which line of the table answered; the label of metrics.
#[derive(Debug, Clone, Copy)]
pub struct RouteName(pub &'static str);

pub async fn finish(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::of(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    request.extensions_mut().insert(id.clone());
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind();
    let mut response = match tokio::time::timeout(REQUEST_MAX, answered).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::error!(request_id = id.as_str(), "a handler panicked");
            Problem::from(ErrorCode::Internal).into_response()
        }
        Err(_) => Problem::from(ErrorCode::Timeout).into_response(),
    };
    if let Some(problem) = problem_of(&mut response) {
        response = render(response, &problem, &path, &id);
    }
    let headers = response.headers_mut();
    headers.insert(request_id::HEADER, id.header());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let route = response.extensions().get::<RouteName>().map_or("none", |name| name.0);
    metrics::answered(route, method_name(&method), response.status().as_u16(), started.elapsed());
    response
}

/// The problem a handler gave, or the one that a bare error status means.
fn problem_of(response: &mut Response) -> Option<Problem> {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        return Some(problem);
    }
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return None;
    }
    let code = match status {
        StatusCode::NOT_FOUND => ErrorCode::NotFound,
        StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ErrorCode::UnsupportedMediaType,
        _ if status.is_client_error() => ErrorCode::InvalidRequest,
        _ => ErrorCode::Internal,
    };
    let message = match status {
        StatusCode::METHOD_NOT_ALLOWED => "this method is not known here",
        _ => code.meaning(),
    };
    Some(Problem { status, ..Problem::new(code, message) })
}

fn render(response: Response, problem: &Problem, path: &str, id: &RequestId) -> Response {
    let json = problem.body.problem(problem.status.as_u16(), path, id.as_str()).json();
    let (mut parts, _) = response.into_parts();
    parts.status = problem.status;
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    Response::from_parts(parts, Body::from(json))
}

/// Methods as a closed set.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::HEAD => "HEAD",
        _ => "other",
    }
}
