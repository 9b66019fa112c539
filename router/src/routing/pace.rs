//! How quickly a queue moves: what an expected wait is worked out from.

use std::time::Duration;

use bus_schema::Timestamp;

/// An average over the last few assignments: each new one counts for a quarter.
const WEIGHT: u64 = 4;
/// A longer time between two assignments says nothing of the next.
const INTERVAL_MAX: Duration = Duration::from_secs(3600);
/// No expectation is longer.
const WAIT_MAX_S: u64 = 24 * 3600;

#[derive(Debug, Default, Clone, Copy)]
pub struct Pace {
    average_ms: Option<u64>,
    last: Option<Timestamp>,
}

impl Pace {
    /// One left the queue for an agent, who had waited since then: so long the queue was not empty.
    pub fn left(&mut self, since: Timestamp, now: Timestamp) {
        let from = self.last.map_or(since, |last| last.max(since));
        let interval = u64::try_from(now.since(from).min(INTERVAL_MAX).as_millis()).unwrap_or(u64::MAX);
        self.average_ms = Some(match self.average_ms {
            Some(average) => (average * (WEIGHT - 1) + interval) / WEIGHT,
            None => interval,
        });
        self.last = Some(self.last.map_or(now, |last| last.max(now)));
    }

    /// Seconds until the one at this position is assigned, if it goes on like this.
    pub fn wait_s(&self, position: u32) -> Option<u64> {
        let ms = self.average_ms?.saturating_mul(u64::from(position));
        Some((ms.saturating_add(500) / 1000).min(WAIT_MAX_S))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn the_wait_is_the_time_between_assignments_for_each_place() {
        let mut pace = Pace::default();
        assert_eq!(pace.wait_s(1), None, "nothing to go by");
        for n in 1..=10 {
            pace.left(at(0), at(n * 30));
        }
        assert_eq!((pace.wait_s(1), pace.wait_s(3)), (Some(30), Some(90)));
        pace.left(at(0), at(300));
        assert_eq!(pace.wait_s(2), Some(45), "the newest counts for a quarter");
    }

    #[test]
    fn time_in_which_nobody_waited_does_not_count() {
        let mut pace = Pace::default();
        pace.left(at(0), at(10));
        pace.left(at(1000), at(1010));
        assert_eq!(pace.wait_s(1), Some(10));
    }
}
