//! When a client that says nothing is asked whether it is there, and when it counts as dead.
//!
//! Invariant: in one silence there is one ping, after two thirds of the time, and nobody counts as dead who did not
//! have the last third to answer it, however late the ping went out.

use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub struct Silence {
    /// How long it may last; none: for ever.
    dead_after: Option<Duration>,
    /// When the client was heard, or else pinged.
    since: Instant,
    is_pinged: bool,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    Nothing,
    Ping,
    Dead,
}

impl Silence {
    pub const fn new(now: Instant, dead_after: Option<Duration>) -> Self {
        Self { dead_after, since: now, is_pinged: false }
    }

    pub const fn dead_after(&self) -> Option<Duration> {
        self.dead_after
    }

    /// The client said something whole.
    pub const fn heard(&mut self, now: Instant) {
        (self.since, self.is_pinged) = (now, false);
    }

    /// When to look; none: never.
    pub fn next(&self) -> Option<Instant> {
        let dead_after = self.dead_after?;
        let ping_after = dead_after * 2 / 3;
        Some(self.since + if self.is_pinged { dead_after - ping_after } else { ping_after })
    }

    /// What is due now; a ping is so once.
    pub fn look(&mut self, now: Instant) -> Due {
        if self.next().is_none_or(|next| now < next) {
            return Due::Nothing;
        }
        if self.is_pinged {
            return Due::Dead;
        }
        (self.since, self.is_pinged) = (now, true);
        Due::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEAD_AFTER: Duration = Duration::from_secs(60);
    const PING_AFTER: Duration = Duration::from_secs(40);

    fn silence() -> (Instant, Silence) {
        let start = Instant::now();
        (start, Silence::new(start, Some(DEAD_AFTER)))
    }

    #[test]
    fn who_is_silent_is_pinged_once_and_then_dead() {
        let (start, mut silence) = silence();
        assert_eq!(silence.look(start + Duration::from_secs(39)), Due::Nothing);
        assert_eq!(silence.next(), Some(start + PING_AFTER));
        assert_eq!(silence.look(start + PING_AFTER), Due::Ping);
        assert_eq!(silence.next(), Some(start + DEAD_AFTER));
        assert_eq!(silence.look(start + Duration::from_secs(59)), Due::Nothing);
        assert_eq!(silence.look(start + DEAD_AFTER), Due::Dead);
    }

    #[test]
    fn who_answers_has_all_the_time_again_and_who_speaks_is_never_pinged() {
        let (start, mut silence) = silence();
        assert_eq!(silence.look(start + PING_AFTER), Due::Ping);
        let mut heard = start + Duration::from_secs(59);
        silence.heard(heard);
        for _ in 0..10 {
            assert_eq!(silence.next(), Some(heard + PING_AFTER));
            assert_eq!(silence.look(heard + Duration::from_secs(25)), Due::Nothing);
            heard += Duration::from_secs(25);
            silence.heard(heard);
        }
        assert_eq!(silence.look(heard + PING_AFTER), Due::Ping);
    }

    #[test]
    fn a_ping_that_went_out_late_may_be_answered_later() {
        let (start, mut silence) = silence();
        let late = start + 2 * DEAD_AFTER;
        assert_eq!(silence.look(late), Due::Ping);
        assert_eq!(silence.look(late + Duration::from_secs(19)), Due::Nothing);
        assert_eq!(silence.look(late + (DEAD_AFTER - PING_AFTER)), Due::Dead);
    }

    #[test]
    fn without_a_limit_silence_may_last_for_ever() {
        let start = Instant::now();
        let mut silence = Silence::new(start, None);
        assert_eq!((silence.next(), silence.look(start + 10_000 * DEAD_AFTER)), (None, Due::Nothing));
    }
}
