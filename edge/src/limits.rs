//! The limits in force, from the settings.

use bus_schema::limits::Limits;
use ops::settings::{Settings, names};

pub fn limits(settings: &Settings) -> Limits {
    Limits {
        text_bytes: settings.int(names::LIMIT_TEXT_BYTES),
        message_bytes: settings.int(names::LIMIT_MESSAGE_BYTES),
        file_bytes: settings.int(names::LIMIT_FILE_BYTES),
        requests_in_flight: settings.int(names::LIMIT_REQUESTS_IN_FLIGHT),
        events_burst: settings.int(names::LIMIT_EVENTS_BURST),
        events_per_second: settings.int(names::LIMIT_EVENTS_PER_SECOND),
        connections_per_visitor: settings.int(names::LIMIT_CONNECTIONS_PER_VISITOR),
        connections_per_agent: settings.int(names::LIMIT_CONNECTIONS_PER_AGENT),
        dead_after_ms: u64::try_from(settings.millis(names::LIMIT_DEAD_AFTER_MS).as_millis())
            .unwrap_or(u64::MAX),
        outbox_bytes: settings.int(names::LIMIT_OUTBOX_BYTES),
    }
}

/// A setting where 0 means that there is no bound.
pub fn or_unbounded(limit: u64) -> usize {
    match usize::try_from(limit) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(limit) => limit,
    }
}
