//! The metrics of this service.
//!
//! Labels come from closed sets: names of routes, methods, statuses, outcomes.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use ops::metrics::{Metric, counter as counter_of, gauge as gauge_of, histogram as histogram_of};

const REQUESTS: &str = "chatbus_http_requests_total";
const REQUEST_SECONDS: &str = "chatbus_http_request_seconds";
const LOGINS: &str = "chatbus_admin_logins_total";
const REPLAYS: &str = "chatbus_admin_idempotent_replays_total";
const OUTBOX: &str = "chatbus_admin_outbox_messages";
const PUT_OFF: &str = "chatbus_admin_put_off_total";
const MAILS: &str = "chatbus_admin_mails_total";
const PUBLISHED: &str = "chatbus_admin_published_total";
const REPAIRED: &str = "chatbus_admin_config_repairs_total";
const COMMANDS: &str = "chatbus_admin_commands_total";
const ERASED: &str = "chatbus_admin_erased_visitors_total";
const LAPSED: &str = "chatbus_admin_lapsed_visitors_total";
const LAPSES_FAILED: &str = "chatbus_admin_lapsed_visitors_failures_total";

#[rustfmt::skip]
const METRICS: &[Metric] = &[
    counter_of(REQUESTS, "HTTP requests by route, method and status."),
    histogram_of(REQUEST_SECONDS, "How long HTTP requests took, by route."),
    counter_of(LOGINS, "Logins by method and outcome."),
    counter_of(REPLAYS, "Answers given again because of an idempotency key."),
    gauge_of(OUTBOX, "Changes that the bus was not told yet, as last seen."),
    counter_of(PUT_OFF, "Tries to publish a record that the bus refused; it is tried again later."),
    counter_of(MAILS, "Mails by kind and outcome."),
    counter_of(PUBLISHED, "Records published to the bus."),
    counter_of(REPAIRED, "Records on the bus that differed from Postgres and were set right."),
    counter_of(COMMANDS, "Commands sent to the router, by command and outcome."),
    counter_of(ERASED, "Visitors of whom nothing is left."),
    counter_of(LAPSED, "Visitors whom their tenant's days of retention were over for, by outcome."),
    counter_of(LAPSES_FAILED, "Rounds in which visitors whose days were over could not be looked for; they are tried again."),
];

pub fn describe() {
    ops::metrics::describe(METRICS);
}

pub fn answered(route: &'static str, method: &'static str, status: u16, took: Duration) {
    counter!(REQUESTS, "route" => route, "method" => method, "status" => status.to_string()).increment(1);
    histogram!(REQUEST_SECONDS, "route" => route).record(took.as_secs_f64());
}

pub fn login(method: &'static str, outcome: &'static str) {
    counter!(LOGINS, "method" => method, "outcome" => outcome).increment(1);
}

pub fn replayed() {
    counter!(REPLAYS).increment(1);
}

pub fn outbox(waiting: i64) {
    gauge!(OUTBOX).set(waiting as f64);
}

pub fn erased() {
    counter!(ERASED).increment(1);
}

/// Somebody whose days are over was forgotten, or came back in that moment.
pub fn lapsed(outcome: &'static str) {
    counter!(LAPSED, "outcome" => outcome).increment(1);
}

pub fn lapses_failed() {
    counter!(LAPSES_FAILED).increment(1);
}

pub fn put_off() {
    counter!(PUT_OFF).increment(1);
}

pub fn mailed(kind: &'static str, outcome: &'static str) {
    counter!(MAILS, "kind" => kind, "outcome" => outcome).increment(1);
}

pub fn published() {
    counter!(PUBLISHED).increment(1);
}

pub fn repaired(records: u64) {
    counter!(REPAIRED).increment(records);
}

pub fn commanded(command: &'static str, outcome: &'static str) {
    counter!(COMMANDS, "command" => command, "outcome" => outcome).increment(1);
}
