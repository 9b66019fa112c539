//! When to try again: full jitter, doubling, bounded.
//!
//! Invariant: a wait is never longer than [`CEILING`] unless the server named it, and a connection that stayed up for
//! [`FORGIVEN_AFTER`] starts over.

use std::time::{Duration, Instant};

/// The first retry comes within this time; each further one may take twice as long.
pub const BASE: Duration = Duration::from_secs(1);
pub const CEILING: Duration = Duration::from_secs(30);
/// A connection that was up this long has forgiven earlier failures.
pub const FORGIVEN_AFTER: Duration = Duration::from_secs(30);
/// Longest wait that a server may ask for.
pub const SERVER_WAIT_MAX: Duration = Duration::from_secs(300);

/// Failures in a row, and what they cost.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    failures: u32,
    up_since: Option<Instant>,
}

impl Backoff {
    pub const fn new(base: Duration) -> Self {
        Self { base, failures: 0, up_since: None }
    }

    pub const fn connected(&mut self, now: Instant) {
        self.up_since = Some(now);
    }

    /// How long to wait before the next try. `unit` is drawn evenly from 0 to 1; `after` is the server's wish, and wins. It
    /// is no failure: whoever is sent on by one deploy after the other would wait longer each time, at last beyond the
    /// grace time of an agent.
    pub fn lost(&mut self, now: Instant, unit: f64, after: Option<Duration>) -> Duration {
        if self.up_since.take().is_some_and(|since| now.duration_since(since) >= FORGIVEN_AFTER) {
            self.failures = 0;
        }
        if let Some(asked) = after {
            return asked.min(SERVER_WAIT_MAX);
        }
        let wait = jittered(self.base, self.failures, unit);
        self.failures = self.failures.saturating_add(1);
        wait
    }
}

/// A wait between 0 and `base` × 2^`failures`, at most [`CEILING`].
pub fn jittered(base: Duration, failures: u32, unit: f64) -> Duration {
    let most = base.saturating_mul(1_u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX)).min(CEILING);
    most.mul_f64(unit.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_ceiling() {
        let (mut backoff, now) = (Backoff::new(BASE), Instant::now());
        let waits: Vec<u64> = (0..8).map(|_| backoff.lost(now, 1.0, None).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(backoff.lost(now, 0.0, None), Duration::ZERO, "full jitter reaches down to nothing");
    }

    #[test]
    fn the_servers_wish_wins_and_is_bounded() {
        let mut backoff = Backoff::new(BASE);
        let now = Instant::now();
        assert_eq!(backoff.lost(now, 1.0, Some(Duration::from_secs(7))).as_secs(), 7);
        assert_eq!(backoff.lost(now, 1.0, Some(Duration::from_secs(9_999))), SERVER_WAIT_MAX);
        assert_eq!(backoff.lost(now, 1.0, None), BASE, "what the server wished for was no failure");
    }

    #[test]
    fn only_a_connection_that_stayed_up_starts_over() {
        let (mut backoff, now) = (Backoff::new(BASE), Instant::now());
        backoff.lost(now, 1.0, None);
        backoff.connected(now);
        assert_eq!(backoff.lost(now + Duration::from_secs(29), 1.0, None).as_secs(), 2);
        backoff.connected(now);
        assert_eq!(backoff.lost(now + FORGIVEN_AFTER, 1.0, None).as_secs(), 1);
    }
}
