//! Errors over HTTP: RFC 9457, the same at every service.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{ErrorBody, ErrorCode, FieldError};

pub const MEDIA_TYPE: &str = "application/problem+json";

/// An error as whoever asked over HTTP gets it.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Problem))]
pub struct ProblemDetails<'a> {
    /// `urn:chatbus:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: &'static str,
    pub status: u16,
    pub detail: &'a str,
    /// The path that was asked for; empty where nothing was read.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub instance: &'a str,
    pub code: ErrorCode,
    pub retryable: bool,
    /// Milliseconds to wait before a retry; left out where the client decides.
    #[serde(skip_serializing_if = "is_zero")]
    pub after_ms: u64,
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<FieldError>))]
    pub errors: &'a [FieldError],
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[cfg_attr(feature = "openapi", schema(value_type = Map<String, Value>))]
    pub data: &'a Map<String, Value>,
    pub request_id: &'a str,
}

impl ErrorBody {
    pub fn problem<'a>(&'a self, status: u16, instance: &'a str, request_id: &'a str) -> ProblemDetails<'a> {
        ProblemDetails {
            kind: format!("urn:chatbus:problem:{}", self.code),
            title: self.code.meaning(),
            status,
            detail: &self.message,
            instance,
            code: self.code,
            retryable: self.retryable,
            after_ms: self.after_ms,
            errors: &self.errors,
            data: &self.data,
            request_id,
        }
    }
}

impl ProblemDetails<'_> {
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("text, numbers and lists of text are JSON")
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    #[test]
    fn what_says_nothing_is_left_out() {
        let body = ErrorBody::from(ErrorCode::NotFound);
        let problem: Value = serde_json::from_str(&body.problem(404, "", "a").json()).unwrap();
        let shown = json!({
            "type": "urn:chatbus:problem:not_found",
            "title": ErrorCode::NotFound.meaning(),
            "status": 404,
            "detail": ErrorCode::NotFound.meaning(),
            "code": "not_found",
            "retryable": false,
            "errors": [],
            "request_id": "a",
        });
        assert_eq!(problem, shown);
    }

    #[test]
    fn what_helps_the_client_is_said() {
        let body = ErrorBody { retryable: true, ..ErrorBody::field("/name", "too long") };
        let body = body.after(Duration::from_secs(1)).with("limit", 100);
        let problem = serde_json::to_value(body.problem(422, "/v1/tags", "a")).unwrap();
        assert_eq!(problem["instance"], "/v1/tags");
        assert_eq!(problem["retryable"], true);
        assert_eq!(problem["after_ms"], 1000);
        assert_eq!(problem["data"], json!({ "limit": 100 }));
        assert_eq!(problem["errors"], json!([{ "pointer": "/name", "message": "too long" }]));
    }
}
