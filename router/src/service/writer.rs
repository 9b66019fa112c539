//! Carries out the core's writes and reads.
//!
//! Invariant: an answer says what is certain. A write whose outcome is unknown is looked up at the leader: the first
//! message after the expected one is ours, or somebody else's, or not there and then written again.

use std::{collections::BTreeSet, time::Duration};

use ops::log::{Expect, Log, Write, WriteError};
use rand::RngExt as _;
use tokio::time::sleep;

use super::{feed::read, signals::Signals};
use crate::routing::{self, Input, WriteFailure};

/// Pauses while another write with an expectation of ours is in flight: doubled from the first to the last.
const CONTENTION_FIRST: Duration = Duration::from_millis(2);
const CONTENTION_LAST: Duration = Duration::from_millis(100);
const CONTENTION_TRIES: u32 = 20;
/// After so many of them the conversation's writers are asked to hold on.
const HOLD_AFTER: u32 = 2;
/// Pauses between tries to reach the leader; it is tried until the process ends, for nothing else is certain.
pub(super) const LEADER_FIRST: Duration = Duration::from_millis(20);
pub(super) const LEADER_LAST: Duration = Duration::from_secs(2);

/// Stores a batch, all or nothing, and says for certain which.
pub async fn write(log: Log, signals: Signals, write: routing::Write) -> Input {
    let id = write.id;
    let messages: Vec<Write> = write.messages.iter().map(encode).collect();
    let mut contention = 0;
    let mut in_doubt = false;
    loop {
        let outcome = Box::pin(log.publish_batch(messages.clone())).await;
        let failure = match outcome {
            Ok(seqs) => return Input::Written { id, seqs },
            // An earlier try of ours may be what moved the subject.
            Err(WriteError::Unknown) => {
                in_doubt = true;
                None
            }
            Err(WriteError::Mismatch) if in_doubt => None,
            Err(WriteError::Mismatch) => Some(WriteFailure::Mismatch),
            Err(error) if error.is_contention() => {
                contention += 1;
                if contention == HOLD_AFTER {
                    hold(&signals, &write);
                }
                if contention > CONTENTION_TRIES && !in_doubt {
                    Some(WriteFailure::Refused)
                } else {
                    sleep(jittered(CONTENTION_FIRST, contention, CONTENTION_LAST)).await;
                    continue;
                }
            }
            Err(error) if in_doubt => {
                tracing::warn!(%error, "a write in doubt was refused, and is looked up");
                None
            }
            Err(error) => {
                tracing::error!(%error, subject = messages[0].subject, "the log refused a decision");
                Some(WriteFailure::Refused)
            }
        };
        if let Some(why) = failure {
            return Input::WriteFailed { id, why };
        }
        match found(&log, &write, &messages).await {
            Found::Ours(seqs) => return Input::Written { id, seqs },
            Found::Theirs => return Input::WriteFailed { id, why: WriteFailure::Mismatch },
            Found::Nothing => {}
        }
    }
}

enum Found {
    Ours(Vec<u64>),
    Theirs,
    Nothing,
}

/// What is in the log where the batch would be. Its first message stands for all of it.
async fn found(log: &Log, write: &routing::Write, messages: &[Write]) -> Found {
    let (first, expected) = (&messages[0], write.messages[0].expected);
    let mut tries = 0;
    loop {
        match log.first_after(&first.subject, expected).await {
            Ok(Some(message)) if message.payload == first.payload => {
                let count = messages.len() as u64;
                return Found::Ours((message.seq..message.seq + count).collect());
            }
            Ok(Some(_)) => return Found::Theirs,
            Ok(None) => return Found::Nothing,
            Err(error) => {
                tries += 1;
                tracing::debug!(%error, tries, "the outcome of a write is not known yet");
                sleep(jittered(LEADER_FIRST, tries, LEADER_LAST)).await;
            }
        }
    }
}

/// The last message of a subject, from the leader.
pub async fn refresh(log: Log, subject: bus_schema::Subject) -> Input {
    let text = subject.to_string();
    let mut tries = 0;
    loop {
        match log.last(&text).await {
            Ok(last) => return Input::Refreshed { subject, last: last.as_ref().and_then(read) },
            Err(error) => {
                tries += 1;
                tracing::debug!(%error, tries, "a subject cannot be read yet");
                sleep(jittered(LEADER_FIRST, tries, LEADER_LAST)).await;
            }
        }
    }
}

fn encode(message: &routing::Message) -> Write {
    Write::new(message.subject.to_string(), message.event.encode())
        .expect(Expect::LastOnSubject(message.expected))
}

/// Asks the edges to keep the conversations quiet for a moment.
fn hold(signals: &Signals, write: &routing::Write) {
    let conversations = write.messages.iter().filter_map(|message| message.event.conversation_id);
    for conversation in conversations.collect::<BTreeSet<_>>() {
        signals.hold(write.tenant, conversation);
    }
}

pub(super) fn jittered(first: Duration, tries: u32, last: Duration) -> Duration {
    let full = first.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(last);
    full.mul_f64(rand::rng().random_range(0.5..1.0))
}
