//! The loop's clock, and how far it is from the bus's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bus_schema::Timestamp;
use tokio::time::Instant;

/// Beyond this the process says that it is not ready.
pub const SKEW_MAX: Duration = Duration::from_secs(2);
/// The least delay over this time shows how far the clock is ahead: some message is always quick.
const WINDOW: Duration = Duration::from_secs(10);

pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Compares live messages' times with the clock.
#[derive(Debug)]
pub struct Skew {
    began: Instant,
    behind: Duration,
    least_ahead: Option<Duration>,
    verdict: Option<Duration>,
}

impl Skew {
    pub fn new() -> Self {
        Self { began: Instant::now(), behind: Duration::ZERO, least_ahead: None, verdict: None }
    }

    /// A message that was stored just now, by the bus's clock.
    pub fn saw(&mut self, at: Timestamp, now: Timestamp) {
        self.behind = self.behind.max(at.since(now));
        let ahead = now.since(at);
        self.least_ahead = Some(self.least_ahead.map_or(ahead, |least| least.min(ahead)));
        if self.began.elapsed() >= WINDOW {
            let worst = self.behind.max(self.least_ahead.unwrap_or_default());
            self.verdict = (worst > SKEW_MAX).then_some(worst);
            (self.began, self.behind, self.least_ahead) = (Instant::now(), Duration::ZERO, None);
        }
    }

    /// How far the clocks differ, where it is too far.
    pub fn too_far(&self) -> Option<Duration> {
        self.verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_differs_is_noticed_and_a_slow_message_is_not_a_difference() {
        let mut skew = Skew::new();
        let at = |ms| Timestamp::from_millis(ms);
        skew.saw(at(1_000), at(9_000));
        tokio::time::advance(WINDOW).await;
        skew.saw(at(20_000), at(20_001));
        assert_eq!(skew.too_far(), None);
        tokio::time::advance(WINDOW).await;
        skew.saw(at(20_000), at(23_000));
        assert_eq!(skew.too_far(), Some(Duration::from_secs(3)));
        tokio::time::advance(WINDOW).await;
        skew.saw(at(29_000), at(23_000));
        assert_eq!(skew.too_far(), Some(Duration::from_secs(6)));
    }
}
