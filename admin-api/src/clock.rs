//! The wall clock, in the contract's milliseconds.
//!
//! Only HTTP and Postgres rows use it; nothing that the log orders does.

use std::time::{SystemTime, UNIX_EPOCH};

use bus_schema::Timestamp;

pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
