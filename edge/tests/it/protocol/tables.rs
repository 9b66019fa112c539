//! The tables of `docs/protocol.md`.

use std::fmt::Write as _;

use bus_schema::{
    ErrorCode,
    claims::Role,
    close::CloseCode,
    limits::{self, Limits},
    protocol::{Action, PushAction, ResetReason, Who},
};
use serde_json::Value;

use super::Shaped;

type Table = fn() -> String;

pub const ALL: &[(&str, Table)] = &[
    ("actions", actions),
    ("pushes", pushes),
    ("close codes", close_codes),
    ("error codes", error_codes),
    ("limits", adjustable),
    ("fixed limits", fixed),
    ("reset reasons", reset_reasons),
];

fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut out = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

fn actions() -> String {
    let row = |action: &Action| {
        let who = match action.who() {
            Who::Both => "both",
            Who::Visitor => "visitor",
            Who::Staff(Role::Agent) => "staff",
            Who::Staff(Role::Supervisor) => "supervisor",
            Who::Staff(Role::Admin) => "admin",
        };
        let (payload, answer) = (action.request(Shaped).line(), action.answer(Shaped).line());
        vec![code(action.name()), who.to_owned(), code(&payload), code(&answer)]
    };
    table(&["action", "who", "payload", "answer"], Action::ALL.iter().map(row))
}

fn pushes() -> String {
    let row = |push: &PushAction| {
        let payloads: Vec<String> = push.payloads(Shaped).iter().map(|shape| code(&shape.line())).collect();
        vec![code(push.name()), payloads.join(" or ")]
    };
    table(&["push", "payload"], PushAction::ALL.iter().map(row))
}

fn close_codes() -> String {
    let row = |code: &CloseCode| {
        let then = match (code, code.reconnect()) {
            (CloseCode::TokenExpired, _) => "get a new token, reconnect, resume",
            (_, true) => "reconnect with backoff, resume",
            (_, false) => "do not reconnect",
        };
        vec![code.number().to_string(), self::code(code.name()), code.meaning().to_owned(), then.to_owned()]
    };
    table(&["code", "reason", "meaning", "what to do"], CloseCode::ALL.iter().map(row))
}

fn error_codes() -> String {
    let row = |code: &ErrorCode| {
        let retry = if code.retryable() { "yes" } else { "no" };
        vec![self::code(code.name()), code.status().to_string(), retry.to_owned(), code.meaning().to_owned()]
    };
    table(&["code", "HTTP", "retry", "meaning"], ErrorCode::ALL.iter().map(row))
}

fn adjustable() -> String {
    let meaning = |name: &str| match name {
        "text_bytes" => "longest text of a message, in bytes of UTF-8",
        "message_bytes" => "largest WebSocket message",
        "file_bytes" => "largest file",
        "requests_in_flight" => "requests of a connection that are not answered yet",
        "events_burst" => "events a connection may send at once",
        "events_per_second" => "and each second from then on",
        "connections_per_visitor" | "connections_per_agent" => "beyond it the oldest is closed with 3504",
        "dead_after_ms" => {
            "silence after which a connection is closed with 3003; the edge pings after two thirds of it"
        }
        "outbox_bytes" => "what may wait to be read before a client is closed with 3001",
        other => panic!("the limit {other} needs a meaning here"),
    };
    let limits = serde_json::to_value(Limits::default()).unwrap();
    let limits = limits.as_object().unwrap();
    let row =
        |(name, value): (&String, &Value)| vec![code(name), value.to_string(), meaning(name).to_owned()];
    table(&["limit", "default", "meaning"], limits.iter().map(row))
}

fn fixed() -> String {
    let rows: [(&str, u64); 23] = [
        ("milliseconds until the login", limits::LOGIN_WITHIN_MS),
        ("frames that are no requests, within 10 s", limits::BAD_FRAMES_MAX as u64),
        ("conversations in the answer to `login`", limits::LOGIN_CONVERSATIONS_MAX as u64),
        ("conversations in `resume`", limits::RESUME_MAX as u64),
        ("events of a conversation in a snapshot", limits::SNAPSHOT_EVENTS_MAX as u64),
        ("items of a page: `limit`", limits::PAGE_MAX as u64),
        ("items of a page without `limit`", limits::PAGE_DEFAULT as u64),
        ("threads in `list_threads`", limits::THREADS_MAX as u64),
        ("characters of a name, label or title", limits::NAME_CHARS_MAX as u64),
        ("characters of an e-mail address", limits::EMAIL_CHARS_MAX as u64),
        ("custom fields of a visitor", limits::CUSTOM_FIELDS_MAX as u64),
        ("characters of a custom field's name", limits::CUSTOM_KEY_CHARS_MAX as u64),
        ("characters of a custom field's value", limits::CUSTOM_VALUE_CHARS_MAX as u64),
        ("quick replies of a message", limits::QUICK_REPLIES_MAX as u64),
        ("elements of a rich message", limits::ELEMENTS_MAX as u64),
        ("bytes of an address on the web", limits::URL_BYTES_MAX as u64),
        ("fields of a form", limits::FORM_FIELDS_MAX as u64),
        ("characters of what is filled into a form's field", limits::FORM_VALUE_CHARS_MAX as u64),
        ("characters of a rating's comment", limits::COMMENT_CHARS_MAX as u64),
        ("skills that a thread wants", limits::SKILLS_MAX as u64),
        ("characters of a skill", limits::SKILL_CHARS_MAX as u64),
        ("milliseconds in which visitors edit and delete", limits::VISITOR_EDIT_WITHIN_MS),
        ("milliseconds after the close in which a thread is rated", limits::RATE_WITHIN_MS),
    ];
    let row = |(what, most): (&str, u64)| vec![what.to_owned(), most.to_string()];
    table(&["not adjustable", ""], rows.into_iter().map(row))
}

fn reset_reasons() -> String {
    let row = |reason: ResetReason| {
        let meaning = match reason {
            ResetReason::Mangled => "not a cursor, or not one that an edge made",
            ResetReason::Epoch => "of another life of the log",
            ResetReason::Principal => "another person's, or of another set of lanes",
            ResetReason::TooOld => "older than what the log keeps",
            ResetReason::Ahead => "beyond the end of the log",
            ResetReason::TooMuch => "more was missed than is worth replaying",
        };
        let name = serde_json::to_value(reason).unwrap();
        vec![code(name.as_str().unwrap()), meaning.to_owned()]
    };
    let reasons = [
        ResetReason::Mangled,
        ResetReason::Epoch,
        ResetReason::Principal,
        ResetReason::TooOld,
        ResetReason::Ahead,
        ResetReason::TooMuch,
    ];
    table(&["reason", "the cursor was"], reasons.into_iter().map(row))
}
