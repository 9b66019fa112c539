//! A rate for each key, with the error that says when to come back.

use std::{
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bus_schema::{ErrorBody, ErrorCode};
use tokio::time::Instant;

use super::bucket::{Buckets, Rate};
use crate::metrics::{Limit, Measures};

#[derive(Debug)]
pub struct Limiter<K> {
    /// None: switched off.
    rate: Option<Rate>,
    reason: Limit,
    buckets: Mutex<Buckets<K>>,
    measures: Arc<Measures>,
}

impl<K: Hash + Eq + Copy> Limiter<K> {
    pub fn new(rate: Option<Rate>, reason: Limit, measures: Arc<Measures>) -> Self {
        Self { rate, reason, buckets: Mutex::new(Buckets::new(Instant::now())), measures }
    }

    pub fn take(&self, key: K) -> Result<(), ErrorBody> {
        self.take_share(key, 1.0, 1)
    }

    /// Who is not known shares no limit with other strangers.
    pub fn take_known(&self, key: Option<K>) -> Result<(), ErrorBody> {
        key.map_or(Ok(()), |key| self.take(key))
    }

    /// Takes `cost` where this process has one of `parts` equal parts of the rate.
    pub fn take_share(&self, key: K, cost: f64, parts: u32) -> Result<(), ErrorBody> {
        let Some(rate) = self.rate else { return Ok(()) };
        // Each take leaves the buckets whole, so a panic elsewhere cannot spoil them.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.take(key, cost, rate.share(parts), Instant::now()).map_err(|wait| {
            self.measures.limited(self.reason);
            ErrorBody::from(ErrorCode::RateLimited).after(wait.max(Duration::from_millis(1)))
        })
    }
}
