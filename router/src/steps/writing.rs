//! How one write of the core is seen to its end.
//!
//! Invariant: it ends with what is certain, or says that it is not. A write whose outcome is unknown is looked up at the
//! leader: the first message after the expected one is ours, or somebody else's, or not there. Then it is in doubt, and
//! is never written again: what it was decided on may be long past. What is decided next expects the same sequences, so
//! that of the two at most one is ever stored.

use super::pause::{Backoff, Pause};
use crate::routing::{Input, WriteFailure, WriteId};

/// Tries beyond it are a refusal.
pub const CONTENTION_TRIES: u32 = 20;
/// Looks that found nothing where a write would be: then it is in doubt.
const LOOKS: u32 = 2;
/// After so many of them the conversation's writers are asked to hold on.
const HOLD_AFTER: u32 = 2;

/// What a try to store it came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    /// The sequence of each message.
    Stored(Vec<u64>),
    Unknown,
    Mismatch,
    /// Another write with an expectation of ours is in flight.
    Contention,
    Refused,
}

/// What the leader has where the write's first message would be. That one stands for all of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// With the sequence of the first.
    Ours(u64),
    Theirs,
    Nothing,
    /// It could not be asked.
    Unread,
}

impl Found {
    /// By what was read: the first message after the expected one, with its sequence.
    pub fn of(ours: &[u8], read: Option<(u64, &[u8])>) -> Self {
        match read {
            Some((seq, payload)) if payload == ours => Found::Ours(seq),
            Some(_) => Found::Theirs,
            None => Found::Nothing,
        }
    }
}

/// What to ask the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Store all of it or none.
    Publish,
    /// Read, from the leader, the first message after the expected one on the first message's subject.
    Find,
}

#[derive(Debug)]
pub enum Next {
    Ask(Ask),
    Wait {
        pause: Pause,
        then: Ask,
        /// The conversation's other writers are to hold on.
        hold: bool,
    },
    /// What the core is to hear.
    Done(Box<Input>),
}

#[derive(Debug)]
pub struct Writing {
    id: WriteId,
    messages: u64,
    contention: Backoff,
    unread: Backoff,
    /// How often it was looked for and not there.
    missing: u32,
}

impl Writing {
    /// It begins with [`Ask::Publish`].
    pub fn new(id: WriteId, messages: usize) -> Self {
        let messages = messages as u64;
        Self { id, messages, contention: Backoff::CONTENTION, unread: Backoff::LEADER, missing: 0 }
    }

    pub fn tried(&mut self, tried: Tried) -> Next {
        match tried {
            Tried::Stored(seqs) => self.written(seqs),
            Tried::Unknown => Next::Ask(Ask::Find),
            Tried::Contention => {
                let pause = self.contention.failed();
                let tries = self.contention.tries();
                match tries > CONTENTION_TRIES {
                    true => self.failed(WriteFailure::Refused),
                    false => Next::Wait { pause, then: Ask::Publish, hold: tries == HOLD_AFTER },
                }
            }
            Tried::Mismatch => self.failed(WriteFailure::Mismatch),
            Tried::Refused => self.failed(WriteFailure::Refused),
        }
    }

    pub fn found(&mut self, found: Found) -> Next {
        match found {
            Found::Ours(first) => self.written((first..first + self.messages).collect()),
            Found::Theirs => self.failed(WriteFailure::Mismatch),
            Found::Nothing => {
                self.missing += 1;
                if self.missing >= LOOKS {
                    return self.failed(WriteFailure::InDoubt);
                }
                Next::Wait { pause: Pause::BEFORE_A_SECOND_LOOK, then: Ask::Find, hold: false }
            }
            Found::Unread => Next::Wait { pause: self.unread.failed(), then: Ask::Find, hold: false },
        }
    }

    fn written(&self, seqs: Vec<u64>) -> Next {
        Next::Done(Box::new(Input::Written { id: self.id, seqs }))
    }

    fn failed(&self, why: WriteFailure) -> Next {
        Next::Done(Box::new(Input::WriteFailed { id: self.id, why }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(next: Next) -> Option<WriteFailure> {
        match next {
            Next::Done(input) => match *input {
                Input::WriteFailed { why, .. } => Some(why),
                _ => None,
            },
            _ => None,
        }
    }

    fn stored(next: Next) -> Option<Vec<u64>> {
        match next {
            Next::Done(input) => match *input {
                Input::Written { seqs, .. } => Some(seqs),
                _ => None,
            },
            _ => None,
        }
    }

    fn writing() -> Writing {
        Writing::new(WriteId(7), 2)
    }

    #[test]
    fn contention_is_waited_out_and_then_certainly_not_stored() {
        let mut writing = writing();
        let holds: Vec<bool> = (0..CONTENTION_TRIES)
            .map(|_| match writing.tried(Tried::Contention) {
                Next::Wait { then: Ask::Publish, hold, .. } => hold,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(holds.iter().position(|hold| *hold), Some(1));
        assert_eq!(holds.iter().filter(|hold| **hold).count(), 1);
        assert_eq!(failure(writing.tried(Tried::Contention)), Some(WriteFailure::Refused));
    }

    #[test]
    fn what_was_decided_before_an_outage_is_not_written_after_it() {
        let mut writing = writing();
        assert!(matches!(writing.tried(Tried::Unknown), Next::Ask(Ask::Find)));
        // What cannot be read says nothing, however often.
        for _ in 0..100 {
            assert!(matches!(writing.found(Found::Unread), Next::Wait { then: Ask::Find, .. }));
        }
        for _ in 1..LOOKS {
            assert!(matches!(writing.found(Found::Nothing), Next::Wait { then: Ask::Find, .. }));
        }
        assert_eq!(failure(writing.found(Found::Nothing)), Some(WriteFailure::InDoubt));
    }

    #[test]
    fn a_write_that_is_found_is_stored_as_a_whole() {
        let mut writing = writing();
        writing.tried(Tried::Unknown);
        writing.found(Found::Nothing);
        assert_eq!(stored(writing.found(Found::Ours(4))), Some(vec![4, 5]));
    }

    #[test]
    fn what_cannot_be_read_is_asked_again() {
        let mut writing = writing();
        writing.tried(Tried::Unknown);
        assert!(matches!(writing.found(Found::Unread), Next::Wait { then: Ask::Find, hold: false, .. }));
        assert_eq!(failure(writing.found(Found::Theirs)), Some(WriteFailure::Mismatch));
        assert_eq!(Found::of(b"a", Some((3, b"a"))), Found::Ours(3));
        assert_eq!(Found::of(b"a", Some((3, b"b"))), Found::Theirs);
        assert_eq!(Found::of(b"a", None), Found::Nothing);
    }
}
