//! Problems in the documentation: one response for each set of codes, with an example of each code.

use std::collections::BTreeSet;

use bus_schema::{
    ErrorBody, ErrorCode,
    problem::{MEDIA_TYPE, ProblemDetails},
};
use serde_json::{Value, json};
use utoipa::openapi::{
    Content, RefOr, Response, ResponseBuilder, content::ContentBuilder, example::ExampleBuilder,
    schema::Schema,
};

/// What the name of the response for everything else is.
pub(super) const OTHER: &str = "other";

/// The name of the response that gives these codes with this status.
pub(super) fn name(status: u16, codes: &BTreeSet<ErrorCode>) -> String {
    let codes: Vec<&str> = codes.iter().map(|code| code.name()).collect();
    format!("{status}_{}", codes.join("_or_"))
}

pub(super) fn response(status: u16, codes: &BTreeSet<ErrorCode>) -> Response {
    let about: Vec<_> = codes.iter().map(|code| format!("`{code}`: {}.", code.meaning())).collect();
    let examples = codes.iter().map(|code| {
        let example = ExampleBuilder::new().value(Some(example(*code, status)));
        (code.name(), example.build())
    });
    let content = ContentBuilder::new().schema(Some(reference())).examples_from_iter(examples).build();
    ResponseBuilder::new().description(about.join(" ")).content(MEDIA_TYPE, content).build()
}

/// Faults, and what a newer version adds.
pub(super) fn other() -> Response {
    let about = "Any other problem (RFC 9457): a fault of the server (500), or no answer in time (504).";
    ResponseBuilder::new().description(about).content(MEDIA_TYPE, Content::new(Some(reference()))).build()
}

fn reference() -> RefOr<Schema> {
    bus_schema::openapi::reference::<ProblemDetails<'_>>()
}

fn example(code: ErrorCode, status: u16) -> Value {
    let body = ErrorBody::from(code);
    let problem = body.problem(status, "/v1/…", "0190f3c2-5b7e-7c3a-9d4e-1f2a3b4c5d6e");
    let mut problem = serde_json::to_value(problem).expect("a problem is JSON");
    match code {
        ErrorCode::InvalidRequest if status == 422 => {
            problem["errors"] = json!([{ "pointer": "/name", "message": "must have 1 to 100 characters" }]);
        }
        ErrorCode::InvalidRequest => {
            problem["errors"] = json!([{ "pointer": "/nmae", "message": "unknown field `nmae`" }]);
        }
        ErrorCode::MfaRequired => problem["data"] = json!({ "login_token": "lt_…" }),
        ErrorCode::TenantRequired => {
            let tenants = json!([{ "id": "0190f3c2-5b7e-7c3a-9d4e-000000000001", "name": "Example" }]);
            problem["data"] = json!({ "login_token": "lt_…", "tenants": tenants });
        }
        ErrorCode::RateLimited | ErrorCode::Unavailable => problem["after_ms"] = 1000.into(),
        _ => {}
    }
    problem
}
