//! What a provider has said about itself, and when it is worth asking again.
//!
//! Invariant: pure; what is known stays known when asking again fails, and nobody asks a provider that just failed.

use std::time::{Duration, Instant};

/// How soon a provider that could not be asked is asked again.
const AGAIN_AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How often an unknown key may make us ask for the keys: anybody can send one.
const ANEW_EVERY: Duration = Duration::from_secs(60);

/// What to do for somebody who wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next<K, E> {
    Use(K),
    /// It failed just now.
    Fail(E),
    Ask,
}

#[derive(Debug)]
pub struct Book<K, E> {
    known: Option<K>,
    /// When it was last asked, and how that failed.
    asked: Option<(Instant, Option<E>)>,
}

impl<K, E> Default for Book<K, E> {
    fn default() -> Self {
        Self { known: None, asked: None }
    }
}

impl<K: Clone, E: Clone> Book<K, E> {
    /// `anew`: something is not in what is known.
    pub fn next(&self, anew: bool, now: Instant) -> Next<K, E> {
        let asked_within =
            |time: Duration| self.asked.as_ref().filter(|(at, _)| now.saturating_duration_since(*at) < time);
        match &self.known {
            Some(known) if !anew || asked_within(ANEW_EVERY).is_some() => Next::Use(known.clone()),
            Some(_) => Next::Ask,
            None => match asked_within(AGAIN_AFTER_FAILURE) {
                Some((_, Some(error))) => Next::Fail(error.clone()),
                _ => Next::Ask,
            },
        }
    }

    pub fn write(&mut self, outcome: Result<K, E>, now: Instant) {
        match outcome {
            Ok(known) => {
                self.known = Some(known);
                self.asked = Some((now, None));
            }
            Err(error) => self.asked = Some((now, Some(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_failed_is_left_alone_for_a_while() {
        let (mut book, start) = (Book::<u8, &str>::default(), Instant::now());
        assert_eq!(book.next(false, start), Next::Ask);
        book.write(Err("away"), start);
        assert_eq!(book.next(false, start + AGAIN_AFTER_FAILURE / 2), Next::Fail("away"));
        assert_eq!(book.next(true, start + AGAIN_AFTER_FAILURE / 2), Next::Fail("away"));
        assert_eq!(book.next(false, start + AGAIN_AFTER_FAILURE), Next::Ask);
    }

    #[test]
    fn only_an_unknown_key_asks_again_and_rarely() {
        let (mut book, start) = (Book::<u8, &str>::default(), Instant::now());
        book.write(Ok(1), start);
        assert_eq!(book.next(false, start + ANEW_EVERY * 9), Next::Use(1));
        assert_eq!(book.next(true, start + ANEW_EVERY / 2), Next::Use(1));
        assert_eq!(book.next(true, start + ANEW_EVERY), Next::Ask);
        book.write(Err("away"), start + ANEW_EVERY);
        let later = start + ANEW_EVERY + AGAIN_AFTER_FAILURE;
        assert_eq!((book.next(false, later), book.next(true, later)), (Next::Use(1), Next::Use(1)));
    }
}
