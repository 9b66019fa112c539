//! Counting frames that are no requests.

use std::{collections::VecDeque, time::Duration};

use bus_schema::limits::{BAD_FRAMES_MAX, BAD_FRAMES_WINDOW_MS};
use tokio::time::Instant;

/// When the last bad frames came.
#[derive(Debug, Default)]
pub struct BadFrames {
    at: VecDeque<Instant>,
}

impl BadFrames {
    /// Counts one; says whether it was one too many.
    pub fn one_more(&mut self, now: Instant) -> bool {
        let window = Duration::from_millis(BAD_FRAMES_WINDOW_MS);
        self.at.retain(|at| now.saturating_duration_since(*at) < window);
        self.at.push_back(now);
        self.at.len() >= BAD_FRAMES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_within_ten_seconds_is_too_many() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut bad = BadFrames::default();
        assert!(!bad.one_more(at(0)));
        assert!(!bad.one_more(at(9_000)));
        assert!(!bad.one_more(at(10_001)));
        assert!(bad.one_more(at(10_002)));
    }
}
