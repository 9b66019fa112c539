//! A token bucket, and many of them under keys.
//!
//! Invariant: pure; time is given. The map is bounded: what has not been asked for a while is full again and is
//! forgotten, and where too many keys come in that time, those asked longest ago go first.

use std::{collections::HashMap, hash::Hash, time::Duration};

use tokio::time::Instant;

/// Keys of each of the two generations.
const KEYS_MAX: usize = 65_536;

/// How fast a bucket fills, and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    pub per_second: f64,
    pub burst: f64,
}

impl Rate {
    /// So many a second, and as many at once. None: no limit.
    pub fn per_second(limit: Option<u64>) -> Option<Self> {
        limit.map(|limit| Self { per_second: limit as f64, burst: limit as f64 })
    }

    pub fn per_minute(limit: Option<u64>) -> Option<Self> {
        limit.map(|limit| Self { per_second: limit as f64 / 60.0, burst: limit as f64 })
    }

    /// One of `parts` equal parts; it holds at least one.
    pub fn share(self, parts: u32) -> Self {
        let parts = f64::from(parts.max(1));
        Self { per_second: self.per_second / parts, burst: (self.burst / parts).max(1.0) }
    }

    /// The time in which the deepest debt is paid and the bucket full again.
    fn refill(self) -> Duration {
        Duration::try_from_secs_f64(2.0 * self.burst / self.per_second).unwrap_or(Duration::MAX)
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    level: f64,
    at: Instant,
}

impl Bucket {
    pub fn full(rate: Rate, now: Instant) -> Self {
        Self { level: rate.burst, at: now }
    }

    /// Takes `cost`, or says when it will be there. What costs more than a full bucket takes a full one, and leaves a
    /// debt of at most another.
    pub fn take(&mut self, cost: f64, rate: Rate, now: Instant) -> Result<(), Duration> {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + since * rate.per_second).min(rate.burst);
        self.at = now;
        let missing = cost.min(rate.burst) - self.level;
        if missing <= 0.0 {
            self.level = (self.level - cost).max(-rate.burst);
            return Ok(());
        }
        Err(Duration::try_from_secs_f64(missing / rate.per_second).unwrap_or(Duration::MAX))
    }
}

/// How fast connections are accepted.
#[derive(Debug)]
pub struct Accepts(Option<(Rate, Bucket)>);

impl Accepts {
    pub fn new(rate: Option<Rate>, now: Instant) -> Self {
        Self(rate.map(|rate| (rate, Bucket::full(rate, now))))
    }

    /// Takes one, or says how long the next has to wait.
    pub fn next(&mut self, now: Instant) -> Result<(), Duration> {
        let Some((rate, bucket)) = &mut self.0 else { return Ok(()) };
        bucket.take(1.0, *rate, now)
    }
}

/// Buckets under keys.
#[derive(Debug)]
pub struct Buckets<K> {
    young: HashMap<K, Bucket>,
    old: HashMap<K, Bucket>,
    turned: Instant,
    keys_max: usize,
}

impl<K: Hash + Eq + Copy> Buckets<K> {
    pub fn new(now: Instant) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), turned: now, keys_max: KEYS_MAX }
    }

    pub fn take(&mut self, key: K, cost: f64, rate: Rate, now: Instant) -> Result<(), Duration> {
        if self.young.len() >= self.keys_max || now.saturating_duration_since(self.turned) >= rate.refill() {
            self.old = std::mem::take(&mut self.young);
            self.turned = now;
        }
        let known = || self.old.remove(&key).unwrap_or_else(|| Bucket::full(rate, now));
        self.young.entry(key).or_insert_with(known).take(cost, rate, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10.0, burst: 20.0 };

    #[test]
    fn a_burst_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::full(RATE, start);
        for _ in 0..20 {
            bucket.take(1.0, RATE, start).unwrap();
        }
        assert_eq!(bucket.take(1.0, RATE, start), Err(Duration::from_millis(100)));
        bucket.take(1.0, RATE, start + Duration::from_millis(100)).unwrap();
        let later = start + Duration::from_secs(60);
        for _ in 0..20 {
            bucket.take(1.0, RATE, later).unwrap();
        }
        assert!(bucket.take(1.0, RATE, later).is_err());
    }

    #[test]
    fn what_is_larger_than_the_bucket_takes_a_full_one_and_leaves_a_debt() {
        let start = Instant::now();
        let mut bucket = Bucket::full(RATE, start);
        bucket.take(50.0, RATE, start).unwrap();
        assert_eq!(bucket.take(1.0, RATE, start), Err(Duration::from_millis(2_100)));
        let mut buckets = Buckets::new(start);
        buckets.take(1, 50.0, RATE, start).unwrap();
        for key in 2..100 {
            let later = start + Duration::from_millis(key * 20);
            buckets.take(key, 1.0, RATE, later).unwrap();
        }
        assert!(buckets.take(1, 1.0, RATE, start + Duration::from_millis(2_000)).is_err(), "not forgotten");
    }

    #[test]
    fn keys_do_not_share_and_are_forgotten_only_when_full_again() {
        let start = Instant::now();
        let mut buckets = Buckets::new(start);
        for _ in 0..20 {
            buckets.take(1, 1.0, RATE, start).unwrap();
        }
        assert!(buckets.take(1, 1.0, RATE, start).is_err());
        buckets.take(2, 1.0, RATE, start).unwrap();
        // One turn of the generations: still known, and refilled by no more than time.
        let soon = start + Duration::from_secs(4);
        for _ in 0..20 {
            buckets.take(1, 1.0, RATE, soon).unwrap();
        }
        assert!(buckets.take(1, 1.0, RATE, soon).is_err());
        let late = start + Duration::from_secs(60);
        buckets.take(3, 1.0, RATE, late).unwrap();
        buckets.take(3, 1.0, RATE, late + Duration::from_secs(60)).unwrap();
        assert_eq!(buckets.young.len() + buckets.old.len(), 1);
    }

    #[test]
    fn a_flood_of_keys_takes_bounded_memory() {
        let start = Instant::now();
        let mut buckets = Buckets { keys_max: 100, ..Buckets::new(start) };
        for key in 0..10_000 {
            let _ = buckets.take(key, 1.0, RATE, start);
        }
        assert!(buckets.young.len() + buckets.old.len() <= 200);
    }
}
