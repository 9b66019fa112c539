//! Pauses between tries: doubled from the first to the last, each shortened by chance so that tries spread.

use std::time::Duration;

/// Doublings beyond it change nothing.
const DOUBLINGS_MAX: u32 = 16;

/// A pause before chance has shortened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause(Duration);

impl Pause {
    /// Time for a write in flight to arrive.
    pub const BEFORE_A_SECOND_LOOK: Self = Self(Duration::from_millis(100));

    /// Between half of it and all of it, for a `chance` from 0 to 1.
    pub fn shortened(self, chance: f64) -> Duration {
        self.0.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }
}

/// Counts tries and says how long to wait before the next.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    first: Duration,
    last: Duration,
    tries: u32,
}

impl Backoff {
    /// While another write with an expectation of ours is in flight.
    pub const CONTENTION: Self = Self::new(Duration::from_millis(2), Duration::from_millis(100));
    /// Until the leader can be reached; it is tried until the process ends, for nothing else is certain.
    pub const LEADER: Self = Self::new(Duration::from_millis(20), Duration::from_millis(500));

    const fn new(first: Duration, last: Duration) -> Self {
        Self { first, last, tries: 0 }
    }

    pub const fn tries(&self) -> u32 {
        self.tries
    }

    /// One more try failed.
    pub fn failed(&mut self) -> Pause {
        let doublings = self.tries.min(DOUBLINGS_MAX);
        self.tries = self.tries.saturating_add(1);
        Pause(self.first.saturating_mul(1 << doublings).min(self.last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_last_and_chance_takes_at_most_half() {
        let mut backoff = Backoff::CONTENTION;
        let pauses: Vec<Duration> = (0..8).map(|_| backoff.failed().shortened(1.0)).collect();
        let millis: Vec<u128> = pauses.iter().map(Duration::as_millis).collect();
        assert_eq!(millis, [2, 4, 8, 16, 32, 64, 100, 100]);
        assert_eq!(backoff.failed().shortened(0.0), Duration::from_millis(50));
        assert_eq!(backoff.tries(), 9);
    }
}
