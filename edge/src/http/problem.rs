//! Errors as RFC 9457 `application/problem+json`.
//!
//! Invariant: every error of the edge's HTTP has `code`, `errors` and `request_id`.

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use bus_schema::{ErrorBody, ErrorCode};
use serde_json::json;
use uuid::Uuid;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_MAX: usize = 128;

tokio::task_local! {
    /// The id of the request that is being answered.
    static CURRENT: String;
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

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { error, status } = self;
        let body = json!({
            "type": format!("urn:chatbus:error:{}", error.code),
            "title": error.code.meaning(),
            "status": status.as_u16(),
            "detail": error.message,
            "code": error.code,
            "errors": error.errors,
            "request_id": CURRENT.try_with(Clone::clone).unwrap_or_default(),
        });
        let mut response = (status, body.to_string()).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if error.after_ms > 0 {
            response.headers_mut().insert(header::RETRY_AFTER, error.after_ms.div_ceil(1000).into());
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
    let mut response = CURRENT.scope(id, next.run(request)).await;
    if let Ok(header) = header {
        response.headers_mut().insert(REQUEST_ID, header);
    }
    response
}
