//! How many writes may be unanswered at once, so that the wait for an answer stays short (design §2.2).
//!
//! Invariant: the bound is what was acknowledged within the last second times 100 ms, and at least a floor: a slow
//! disk makes answers late but never lets a backlog grow.

use std::time::Duration;

use tokio::time::Instant;

/// Writes that may always be unanswered.
pub const FLOOR: usize = 64;
const SLOT: Duration = Duration::from_millis(100);
const SLOTS: usize = 10;

#[derive(Debug)]
pub struct Window {
    /// Acknowledgements of each of the last ten slots.
    acked: [u32; SLOTS],
    at: usize,
    slot_began: Instant,
    in_flight: usize,
}

impl Window {
    pub fn new(now: Instant) -> Self {
        Self { acked: [0; SLOTS], at: 0, slot_began: now, in_flight: 0 }
    }

    /// Whether one more may go.
    pub fn has_room(&self) -> bool {
        self.in_flight < self.limit()
    }

    pub fn limit(&self) -> usize {
        let last_second: u32 = self.acked.iter().sum();
        (last_second as usize / 10).max(FLOOR)
    }

    pub fn begin(&mut self) {
        self.in_flight += 1;
    }

    /// One was answered; `stored` when the log took it.
    pub fn end(&mut self, stored: bool, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.turn(now);
        self.acked[self.at] += u32::from(stored);
    }

    fn turn(&mut self, now: Instant) {
        let mut behind = now.saturating_duration_since(self.slot_began).as_millis() / SLOT.as_millis();
        if behind == 0 {
            return;
        }
        behind = behind.min(SLOTS as u128);
        for _ in 0..behind {
            self.at = (self.at + 1) % SLOTS;
            self.acked[self.at] = 0;
        }
        self.slot_began = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_follows_the_rate_of_the_last_second_and_falls_back_to_the_floor() {
        let start = Instant::now();
        let mut window = Window::new(start);
        assert_eq!(window.limit(), FLOOR);
        for n in 0..5_000_u64 {
            window.begin();
            window.end(true, start + Duration::from_micros(n * 200));
        }
        assert!((400..=500).contains(&window.limit()), "{}", window.limit());
        window.begin();
        window.end(false, start + Duration::from_secs(5));
        assert_eq!(window.limit(), FLOOR);
    }

    #[test]
    fn no_more_than_the_bound_are_unanswered() {
        let mut window = Window::new(Instant::now());
        for _ in 0..FLOOR {
            assert!(window.has_room());
            window.begin();
        }
        assert!(!window.has_room());
    }
}
