//! The headers of answers. Those of CORS are between browser and edge, and are not named.

use axum::http::StatusCode;
use bus_schema::ErrorCode;
use serde_json::{Value, json};

use super::table::{Content, Operation};

/// Its name, its type, and what it says.
type Header = (&'static str, &'static str, &'static str);

const REQUEST_ID: Header =
    ("X-Request-Id", "string", "The request's own id, or one that was made for it; logs have it.");
const WWW_AUTHENTICATE: Header = ("WWW-Authenticate", "string", "`Bearer`.");
const UPGRADE: Header = ("Upgrade", "string", "`websocket`.");
const RETRY_AFTER: Header =
    ("Retry-After", "integer", "Seconds after which to try again; without it wait longer each time.");
/// Those of a file.
const OF_FILE: [Header; 6] = [
    ("Cache-Control", "string", "It may be kept by whoever fetched it, as long as a link counts."),
    ("Content-Disposition", "string", "It is to be saved, under this name."),
    ("Content-Length", "integer", "Its size."),
    ("Content-Security-Policy", "string", "It runs nothing and loads nothing."),
    ("Referrer-Policy", "string", "Its link is told to nobody."),
    ("X-Content-Type-Options", "string", "It is what its content type says."),
];

/// All of them, where references lead.
pub fn components() -> Value {
    let all = OF_FILE.into_iter().chain([REQUEST_ID, RETRY_AFTER, WWW_AUTHENTICATE, UPGRADE]);
    let described = all.map(|(name, kind, about)| {
        let header =
            json!({ "description": about, "required": is_required(name), "schema": { "type": kind } });
        (name.to_owned(), header)
    });
    Value::Object(described.collect())
}

/// Those that an answer of this status may have.
pub fn described(operation: &Operation, status: &str) -> Value {
    let named = named(operation, status).into_iter();
    let referred = named.map(|name| {
        let header = json!({ "$ref": format!("#/components/headers/{name}") });
        (name.to_owned(), header)
    });
    Value::Object(referred.collect())
}

/// Fails the test whose answer lacks one that the document promises, or says when to come again in only one place.
#[track_caller]
pub fn assert_there(operation: &Operation, status: u16, head: &str, body: &Value) {
    let has = |name: &str| head.contains(&format!("\r\n{}: ", name.to_lowercase()));
    let at = format!("{status} of {}", operation.route.name);
    for name in named(operation, &status.to_string()).into_iter().filter(|name| is_required(name)) {
        assert!(has(name), "{at} lacks {name}: {head}");
    }
    let says_when = status >= 400 && body["after_ms"].is_u64();
    assert_eq!(has(RETRY_AFTER.0), says_when, "{at}: {head} {body:#}");
}

/// Who is told when to come again does as told, and does not wait longer each time: so it is said where it is known.
fn is_required(name: &str) -> bool {
    name != RETRY_AFTER.0
}

fn named(operation: &Operation, status: &str) -> Vec<&'static str> {
    let is = |other: u16| status == other.to_string();
    let mut named = vec![REQUEST_ID.0];
    if is(ErrorCode::RateLimited.status()) || is(ErrorCode::Unavailable.status()) {
        named.push(RETRY_AFTER.0);
    }
    if is(ErrorCode::Unauthenticated.status()) {
        named.push(WWW_AUTHENTICATE.0);
    }
    if is(StatusCode::UPGRADE_REQUIRED.as_u16()) {
        named.push(UPGRADE.0);
    }
    if matches!(operation.gives, Content::Bytes) && is(operation.status) {
        named.extend(OF_FILE.map(|(name, ..)| name));
    }
    named
}
