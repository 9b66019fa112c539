//! The wall clock, in the contract's milliseconds.
//!
//! Only HTTP and Postgres rows use it; nothing that the log orders does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use bus_schema::Timestamp;

pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// What day it is for whatever waits for days: today, until somebody who cannot wait says otherwise.
#[derive(Debug, Clone, Default)]
pub struct Calendar(Arc<AtomicI64>);

impl Calendar {
    pub fn now(&self) -> Timestamp {
        match self.0.load(Ordering::Relaxed) {
            0 => now(),
            millis => Timestamp::from_millis(millis),
        }
    }

    pub fn turn_to(&self, at: Timestamp) {
        self.0.store(at.millis(), Ordering::Relaxed);
    }
}
