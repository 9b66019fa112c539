//! How one write of the core is seen to its end.
//!
//! Invariant: it ends with what is certain, or says that it is not. A write whose outcome is unknown is looked up at the
//! leader: the first message after the expected one is ours, or somebody else's, or not there and then written again.
//! One that is never there although the leader answers is given up in doubt: what is decided on what is read then expects
//! the same sequences, so that of the two at most one is ever stored.

use super::pause::{Backoff, Pause};
use crate::routing::{Input, WriteFailure, WriteId};

/// Tries beyond it are a refusal; where one of them may have been stored, that is looked up.
const CONTENTION_TRIES: u32 = 20;
/// Looks for a write in doubt that found nothing where it would be; it is not tried again after them.
const MISSING_TRIES: u32 = 8;
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
    /// An earlier try may be stored.
    in_doubt: bool,
    /// How often it was looked for and not there.
    missing: u32,
    /// What the last try came to, while that is looked up.
    after: Option<Tried>,
}

impl Writing {
    /// It begins with [`Ask::Publish`].
    pub fn new(id: WriteId, messages: usize) -> Self {
        let messages = messages as u64;
        Self {
            id,
            messages,
            contention: Backoff::CONTENTION,
            unread: Backoff::LEADER,
            in_doubt: false,
            missing: 0,
            after: None,
        }
    }

    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    pub fn tried(&mut self, tried: Tried) -> Next {
        match tried {
            Tried::Stored(seqs) => self.written(seqs),
            Tried::Unknown => {
                self.in_doubt = true;
                self.look_up(tried)
            }
            Tried::Contention => {
                let pause = self.contention.failed();
                let tries = self.contention.tries();
                match tries > CONTENTION_TRIES {
                    true if self.in_doubt => self.look_up(tried),
                    true => self.failed(WriteFailure::Refused),
                    false => Next::Wait { pause, then: Ask::Publish, hold: tries == HOLD_AFTER },
                }
            }
            // An earlier try of ours may be what moved the subject.
            Tried::Mismatch | Tried::Refused if self.in_doubt => self.look_up(tried),
            Tried::Mismatch => self.failed(WriteFailure::Mismatch),
            Tried::Refused => self.failed(WriteFailure::Refused),
        }
    }

    pub fn found(&mut self, found: Found) -> Next {
        match found {
            Found::Ours(first) => self.written((first..first + self.messages).collect()),
            Found::Theirs => self.failed(WriteFailure::Mismatch),
            // A subject of it moved on before the first was found unmoved: no try was stored, and none can be.
            Found::Nothing if self.after == Some(Tried::Mismatch) => self.failed(WriteFailure::Mismatch),
            Found::Nothing => {
                self.missing += 1;
                if self.missing >= MISSING_TRIES {
                    return self.failed(WriteFailure::InDoubt);
                }
                Next::Wait { pause: self.unread.failed(), then: Ask::Publish, hold: false }
            }
            Found::Unread => Next::Wait { pause: self.unread.failed(), then: Ask::Find, hold: false },
        }
    }

    fn look_up(&mut self, tried: Tried) -> Next {
        self.after = Some(tried);
        Next::Ask(Ask::Find)
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
    fn a_mismatch_is_a_failure_only_where_no_earlier_try_may_be_stored() {
        let mut sure = writing();
        assert_eq!(failure(sure.tried(Tried::Mismatch)), Some(WriteFailure::Mismatch));
        let mut doubtful = writing();
        assert!(matches!(doubtful.tried(Tried::Unknown), Next::Ask(Ask::Find)));
        assert!(matches!(doubtful.found(Found::Nothing), Next::Wait { then: Ask::Publish, .. }));
        for tried in [Tried::Mismatch, Tried::Refused] {
            assert!(matches!(doubtful.tried(tried), Next::Ask(Ask::Find)));
        }
        assert_eq!(stored(doubtful.found(Found::Ours(4))), Some(vec![4, 5]));
    }

    #[test]
    fn contention_is_waited_out_and_gives_up_only_what_is_certainly_not_stored() {
        let mut sure = writing();
        let holds: Vec<bool> = (0..CONTENTION_TRIES)
            .map(|_| match sure.tried(Tried::Contention) {
                Next::Wait { then: Ask::Publish, hold, .. } => hold,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(holds.iter().position(|hold| *hold), Some(1));
        assert_eq!(holds.iter().filter(|hold| **hold).count(), 1);
        assert_eq!(failure(sure.tried(Tried::Contention)), Some(WriteFailure::Refused));
        let mut doubtful = writing();
        doubtful.tried(Tried::Unknown);
        for _ in 0..CONTENTION_TRIES {
            assert!(matches!(doubtful.tried(Tried::Contention), Next::Wait { then: Ask::Publish, .. }));
        }
        assert!(matches!(doubtful.tried(Tried::Contention), Next::Ask(Ask::Find)));
        assert_eq!(stored(doubtful.found(Found::Ours(4))), Some(vec![4, 5]));
    }

    #[test]
    fn a_write_in_doubt_that_is_tried_in_vain_ends_in_doubt() {
        for again in [Tried::Refused, Tried::Unknown] {
            let mut writing = writing();
            assert!(matches!(writing.tried(Tried::Unknown), Next::Ask(Ask::Find)));
            // What cannot be read says nothing, however often.
            for _ in 0..100 {
                assert!(matches!(writing.found(Found::Unread), Next::Wait { then: Ask::Find, .. }));
            }
            for _ in 1..MISSING_TRIES {
                assert!(matches!(writing.found(Found::Nothing), Next::Wait { then: Ask::Publish, .. }));
                assert!(matches!(writing.tried(again.clone()), Next::Ask(Ask::Find)));
            }
            assert_eq!(failure(writing.found(Found::Nothing)), Some(WriteFailure::InDoubt));
        }
        let mut crowded = writing();
        crowded.tried(Tried::Unknown);
        crowded.found(Found::Nothing);
        let tries = (0..1000).find_map(|_| match crowded.tried(Tried::Contention) {
            Next::Ask(Ask::Find) => failure(crowded.found(Found::Nothing)),
            _ => None,
        });
        assert_eq!(tries, Some(WriteFailure::InDoubt));
    }

    #[test]
    fn a_batch_in_doubt_of_which_another_subject_moved_on_ends() {
        let mut writing = writing();
        writing.tried(Tried::Unknown);
        assert!(matches!(writing.found(Found::Nothing), Next::Wait { then: Ask::Publish, .. }));
        assert!(matches!(writing.tried(Tried::Mismatch), Next::Ask(Ask::Find)));
        assert_eq!(failure(writing.found(Found::Nothing)), Some(WriteFailure::Mismatch));
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
