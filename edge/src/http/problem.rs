//! Errors as RFC 9457 `application/problem+json`.
//!
//! Invariant: every error of the edge's HTTP has `code`, `errors` and `request_id`.

use std::time::Duration;

use axum::{
    body::to_bytes,
    extract::Request,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bus_schema::{ErrorBody, ErrorCode, problem::MEDIA_TYPE};
use uuid::Uuid;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_MAX: usize = 128;
/// When whoever is one too many may come again.
const BARE_RETRY_AFTER: Duration = Duration::from_secs(5);
/// What an error that was not written as a problem says, in bytes.
const DETAIL_MAX: usize = 1_024;

tokio::task_local! {
    /// The request that is being answered.
    static CURRENT: Current;
}

struct Current {
    id: String,
    path: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    error: ErrorBody,
    status: StatusCode,
}

impl Problem {
    pub fn with_status(error: ErrorBody, status: StatusCode) -> Self {
        Self { error, status }
    }

    /// The form of the request was wrong: 400, where a wrong value is 422.
    pub fn malformed(error: ErrorBody) -> Self {
        Self { error, status: StatusCode::BAD_REQUEST }
    }
}

impl From<ErrorBody> for Problem {
    fn from(error: ErrorBody) -> Self {
        let status = match error.code {
            ErrorCode::InvalidRequest => StatusCode::UNPROCESSABLE_ENTITY,
            code => StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        };
        Self { error, status }
    }
}

impl From<ErrorCode> for Problem {
    fn from(code: ErrorCode) -> Self {
        ErrorBody::from(code).into()
    }
}

impl Problem {
    fn body(&self, path: &str, request_id: &str) -> String {
        self.error.problem(self.status.as_u16(), path, request_id).json()
    }
}

/// A whole response for a connection on which no request is read.
pub fn bare(code: ErrorCode) -> String {
    let problem = Problem::from(ErrorBody::from(code).after(BARE_RETRY_AFTER));
    let (status, id) = (problem.status, Uuid::now_v7().to_string());
    let body = problem.body("", &id);
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {}\r\nx-request-id: {id}\r\n\
         retry-after: {}\r\nconnection: close\r\n\r\n{body}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        body.len(),
        BARE_RETRY_AFTER.as_secs(),
    )
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = CURRENT
            .try_with(|Current { id, path }| self.body(path, id))
            .unwrap_or_else(|_| self.body("", ""));
        let Self { error, status } = self;
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if error.after_ms > 0 {
            headers.insert(header::RETRY_AFTER, error.after_ms.div_ceil(1000).into());
        }
        // As RFC 9110 wants.
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::UPGRADE_REQUIRED => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            }
            _ => {}
        }
        response
    }
}

/// Takes the caller's request id if it is a sensible one, else makes one; it is in the answer and in errors.
pub async fn request_id(request: Request, next: Next) -> Response {
    let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let sensible = |id: &&str| {
        !id.is_empty()
            && id.len() <= REQUEST_ID_MAX
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    let id = given.filter(sensible).map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
    let header = HeaderValue::from_str(&id);
    let path = request.uri().path().to_owned();
    let mut response = CURRENT.scope(Current { id, path }, next.run(request)).await;
    if let Ok(header) = header {
        response.headers_mut().insert(REQUEST_ID, header);
    }
    response
}

/// Makes a problem of every error that is none yet: what a layer or an extractor refused, or a handler that was cut off.
pub async fn problems(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let is_problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == MEDIA_TYPE);
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let code = code_of(status);
    let said = to_bytes(body, DETAIL_MAX).await.ok().and_then(|text| String::from_utf8(text.into()).ok());
    let detail = said.filter(|text| !text.is_empty() && status.is_client_error());
    let error = ErrorBody::new(code, detail.unwrap_or_else(|| code.meaning().to_owned()));
    let mut problem = Problem::with_status(error, status).into_response();
    // Such as Allow; what described the old body goes, and the problem says itself when to come again.
    for (name, value) in &parts.headers {
        if ![header::CONTENT_TYPE, header::CONTENT_LENGTH, header::RETRY_AFTER].contains(name) {
            problem.headers_mut().append(name, value.clone());
        }
    }
    problem
}

fn code_of(status: StatusCode) -> ErrorCode {
    let same = ErrorCode::ALL.iter().find(|code| code.status() == status.as_u16());
    match same {
        Some(code) => *code,
        None if status.is_client_error() => ErrorCode::InvalidRequest,
        None => ErrorCode::Internal,
    }
}
