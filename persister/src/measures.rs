//! Metrics. Handles are made once, so that a batch costs no look-ups.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bus_schema::{Shard, Timestamp};
use metrics::{Counter, Gauge, Histogram};
use ops::metrics::{Metric, counter, gauge, histogram};

use crate::store::Written;

const EVENTS: &str = "chatbus_persister_events_total";
const REPEATED: &str = "chatbus_persister_repeated_total";
const PARKED: &str = "chatbus_persister_parked_total";
const UNKNOWN: &str = "chatbus_persister_unknown_total";
const RACES: &str = "chatbus_persister_lost_races_total";
const FAILURES: &str = "chatbus_persister_write_failures_total";
const STATEMENTS: &str = "chatbus_persister_statements_total";
const BATCH_ROWS: &str = "chatbus_persister_batch_rows";
const WRITE_SECONDS: &str = "chatbus_persister_write_seconds";
const LAG_MESSAGES: &str = "chatbus_persister_log_lag_messages";
const LAG_SECONDS: &str = "chatbus_persister_log_lag_seconds";
const APPLIED: &str = "chatbus_persister_applied_sequence";
const HALTED: &str = "chatbus_persister_halted";

pub const METRICS: &[Metric] = &[
    counter(EVENTS, "Events written and projected."),
    counter(REPEATED, "Events that the read model had already, by id."),
    counter(PARKED, "Messages that could not be read, or that Postgres refuses, parked with the reason."),
    counter(UNKNOWN, "Events of a kind or version that this build does not know: kept, not projected."),
    counter(RACES, "Batches given up because another persister had moved the watermark."),
    counter(FAILURES, "Transactions that failed and are tried again."),
    counter(STATEMENTS, "SQL statements of the transactions that wrote them."),
    histogram(BATCH_ROWS, "Messages of the log in one transaction."),
    histogram(WRITE_SECONDS, "Time one transaction took."),
    gauge(LAG_MESSAGES, "Messages of the log that are not in Postgres yet."),
    gauge(LAG_SECONDS, "Age of the newest message in Postgres while there are newer ones, else 0."),
    gauge(APPLIED, "Sequence of the log up to which Postgres has everything."),
    gauge(HALTED, "1 while the log disagrees with the read model and nothing is written."),
];

/// The metrics of one shard.
pub struct Measures {
    events: Counter,
    repeated: Counter,
    parked: Counter,
    unknown: Counter,
    pub races: Counter,
    pub failures: Counter,
    statements: Counter,
    rows: Histogram,
    seconds: Histogram,
    lag_messages: Gauge,
    lag_seconds: Gauge,
    applied: Gauge,
    pub halted: Gauge,
    /// What is in Postgres, as far as is known: the lag grows also while Postgres is away.
    last: Mutex<(u64, Timestamp)>,
}

impl Measures {
    pub fn new(shard: Shard) -> Self {
        ops::metrics::describe(METRICS);
        let labels = [("shard", shard.to_string())];
        let made = Self {
            events: metrics::counter!(EVENTS, &labels),
            repeated: metrics::counter!(REPEATED, &labels),
            parked: metrics::counter!(PARKED, &labels),
            unknown: metrics::counter!(UNKNOWN, &labels),
            races: metrics::counter!(RACES, &labels),
            failures: metrics::counter!(FAILURES, &labels),
            statements: metrics::counter!(STATEMENTS, &labels),
            rows: metrics::histogram!(BATCH_ROWS, &labels),
            seconds: metrics::histogram!(WRITE_SECONDS, &labels),
            lag_messages: metrics::gauge!(LAG_MESSAGES, &labels),
            lag_seconds: metrics::gauge!(LAG_SECONDS, &labels),
            applied: metrics::gauge!(APPLIED, &labels),
            halted: metrics::gauge!(HALTED, &labels),
            last: Mutex::default(),
        };
        // Present from the start, so that an alert on their growth has something to grow from.
        let counters =
            [&made.events, &made.repeated, &made.parked, &made.unknown, &made.races, &made.failures];
        counters.iter().for_each(|counter| counter.increment(0));
        made.statements.increment(0);
        made
    }

    pub fn wrote(&self, written: Written, took: Duration) {
        self.events.increment(written.new as u64);
        self.repeated.increment(written.repeated as u64);
        self.parked.increment(written.parked as u64);
        self.unknown.increment(written.unknown as u64);
        self.statements.increment(written.statements as u64);
        self.rows.record((written.new + written.repeated + written.parked) as f64);
        self.seconds.record(took);
    }

    /// `applied` is in Postgres, stored at `at`; `waiting` messages are not.
    pub fn stands(&self, applied: u64, at: Timestamp, waiting: u64) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = (applied, at);
        self.applied.set(applied as f64);
        self.lag(at, waiting);
    }

    /// Nothing was written, and the log ends at `end`.
    pub fn waits(&self, end: u64) {
        let (applied, at) = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        self.lag(at, end.saturating_sub(applied));
    }

    fn lag(&self, at: Timestamp, waiting: u64) {
        self.lag_messages.set(waiting as f64);
        let behind = waiting > 0 && at > Timestamp::default();
        self.lag_seconds.set(if behind { now().since(at) } else { Duration::ZERO });
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::default().plus(since)
}
