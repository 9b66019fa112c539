//! Whether the read model, which may be away, is worth asking.
//!
//! Invariant: as long as nothing is answered, those who begin to ask after the first failure are one in each pause.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metrics::{Counter, counter};
use tokio::time::Instant;

use crate::metrics::{Metric, counter as counter_of};

const QUESTIONS: &str = "chatbus_history_questions_total";

pub(super) const METRICS: &[Metric] =
    &[counter_of(QUESTIONS, "Questions to the read model for events far down the log, by outcome.")];

/// How long nobody asks after a failure; then one does, and the others wait for what comes of it.
const SILENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Silence {
    until: Mutex<Option<Instant>>,
    answered: Counter,
    unanswered: Counter,
    spared: Counter,
}

impl Silence {
    pub fn new() -> Self {
        let questions = |outcome: &'static str| counter!(QUESTIONS, "outcome" => outcome);
        Self {
            until: Mutex::new(None),
            answered: questions("answered"),
            unanswered: questions("unanswered"),
            spared: questions("spared"),
        }
    }

    pub fn may_ask(&self, now: Instant) -> bool {
        let mut until = self.lock();
        match *until {
            Some(end) if now < end => {
                self.spared.increment(1);
                false
            }
            Some(_) => {
                *until = Some(now + SILENCE);
                true
            }
            None => true,
        }
    }

    pub fn heard(&self) {
        self.answered.increment(1);
        *self.lock() = None;
    }

    pub fn failed(&self, now: Instant) {
        self.unanswered.increment(1);
        *self.lock() = Some(now + SILENCE);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        // Each change is one store, so a panic elsewhere cannot leave it half done.
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failure_one_asks_in_each_pause_until_somebody_answers() {
        let (silence, start) = (Silence::new(), Instant::now());
        assert!(silence.may_ask(start) && silence.may_ask(start), "nothing failed yet");
        silence.failed(start);
        assert!(!silence.may_ask(start + SILENCE / 2));
        assert!(silence.may_ask(start + SILENCE), "one of them");
        assert!(!silence.may_ask(start + SILENCE), "and no other");
        silence.heard();
        assert!(silence.may_ask(start + SILENCE));
    }
}
