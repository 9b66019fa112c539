//! When a connection counts as slow to greet, quiet, or dead.
//!
//! Invariant: a live connection is pinged once after the ping interval without a frame, and dead
//! [`PONG_WITHIN`] later; a greeting has [`GREETING_WITHIN`].

use std::time::{Duration, Instant};

/// From the open socket to `hello`, and from `login` to its answer.
pub const GREETING_WITHIN: Duration = Duration::from_secs(10);
/// From a ping to any frame.
pub const PONG_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting { until: Instant },
    Live { interval: Duration, pinged: bool },
}

/// The times of one connection.
#[derive(Debug)]
pub struct Clock {
    heard: Instant,
    stage: Stage,
}

/// What a timer that fired means.
#[derive(Debug, PartialEq, Eq)]
pub enum Fired {
    Nothing,
    Ping,
    Dead,
}

impl Clock {
    pub fn new(now: Instant) -> Self {
        Self { heard: now, stage: Stage::Greeting { until: now + GREETING_WITHIN } }
    }

    /// `hello` came and `login` went out.
    pub fn greeted(&mut self, now: Instant) {
        self.stage = Stage::Greeting { until: now + GREETING_WITHIN };
    }

    /// The login was answered.
    pub const fn live(&mut self, interval: Duration) {
        self.stage = Stage::Live { interval, pinged: false };
    }

    /// A frame came.
    pub const fn heard(&mut self, now: Instant) {
        self.heard = now;
        if let Stage::Live { pinged, .. } = &mut self.stage {
            *pinged = false;
        }
    }

    /// When the timer must fire. It may fire earlier.
    pub fn due(&self) -> Instant {
        match self.stage {
            Stage::Greeting { until } => until,
            Stage::Live { interval, pinged: false } => self.heard + interval,
            Stage::Live { interval, pinged: true } => self.heard + interval + PONG_WITHIN,
        }
    }

    pub fn fired(&mut self, now: Instant) -> Fired {
        if now < self.due() {
            return Fired::Nothing;
        }
        match &mut self.stage {
            Stage::Live { pinged, .. } if !*pinged => {
                *pinged = true;
                Fired::Ping
            }
            Stage::Greeting { .. } | Stage::Live { .. } => Fired::Dead,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(25);

    #[test]
    fn a_quiet_connection_is_pinged_once_and_then_dead() {
        let start = Instant::now();
        let mut clock = Clock::new(start);
        clock.live(INTERVAL);
        assert_eq!(clock.fired(start + Duration::from_secs(24)), Fired::Nothing);
        assert_eq!(clock.fired(start + INTERVAL), Fired::Ping);
        assert_eq!(clock.fired(start + INTERVAL), Fired::Nothing);
        assert_eq!(clock.fired(start + INTERVAL + PONG_WITHIN), Fired::Dead);
    }

    #[test]
    fn any_frame_shows_life() {
        let start = Instant::now();
        let mut clock = Clock::new(start);
        clock.live(INTERVAL);
        clock.fired(start + INTERVAL);
        let heard = start + INTERVAL + Duration::from_secs(9);
        clock.heard(heard);
        assert_eq!(clock.fired(heard + PONG_WITHIN), Fired::Nothing);
        assert_eq!(clock.due(), heard + INTERVAL);
    }

    #[test]
    fn a_server_that_does_not_greet_is_left() {
        let start = Instant::now();
        let mut clock = Clock::new(start);
        clock.heard(start + Duration::from_secs(3));
        assert_eq!(clock.fired(start + GREETING_WITHIN), Fired::Dead);
    }
}
