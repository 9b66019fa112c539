//! Carries out the core's writes and reads, as [`crate::steps::Writing`] says.
//!
//! Invariant: an answer says what is certain.

use std::{collections::BTreeSet, time::Duration};

use ops::log::{Expect, Log, Write, WriteError};
use tokio::time::sleep;

use super::{feed::read, signals::Signals};
use crate::{
    routing::{self, Input},
    steps::{Ask, Backoff, Found, Next, Pause, Tried, Writing},
};

/// Stores a batch, all or nothing, and says for certain which.
pub async fn write(log: Log, signals: Signals, write: routing::Write) -> Input {
    let messages: Vec<Write> = write.messages.iter().map(encode).collect();
    let mut writing = Writing::new(write.id, messages.len());
    let mut ask = Ask::Publish;
    loop {
        let next = match ask {
            Ask::Publish => {
                let outcome = Box::pin(log.publish_batch(messages.clone())).await;
                note(&outcome, &messages);
                writing.tried(tried(outcome))
            }
            Ask::Find => writing.found(found(&log, &write, &messages).await),
        };
        ask = match next {
            Next::Ask(ask) => ask,
            Next::Wait { pause, then, hold } => {
                if hold {
                    hold_on(&signals, &write);
                }
                sleep(by_chance(pause)).await;
                then
            }
            Next::Done(input) => return *input,
        };
    }
}

fn tried(outcome: Result<Vec<u64>, WriteError>) -> Tried {
    match outcome {
        Ok(seqs) => Tried::Stored(seqs),
        Err(WriteError::Unknown) => Tried::Unknown,
        Err(WriteError::Mismatch) => Tried::Mismatch,
        Err(error) if error.is_contention() => Tried::Contention,
        Err(_) => Tried::Refused,
    }
}

fn note(outcome: &Result<Vec<u64>, WriteError>, messages: &[Write]) {
    match outcome {
        Ok(_) | Err(WriteError::Unknown | WriteError::Mismatch) => {}
        Err(error) if error.is_contention() => {}
        Err(error) => {
            tracing::error!(%error, subject = messages[0].subject, "the log refused a decision");
        }
    }
}

/// What is in the log where the batch would be.
async fn found(log: &Log, write: &routing::Write, messages: &[Write]) -> Found {
    let first = &messages[0];
    let expected = write.messages[0].expected.expect("a subject's first message says what it expects");
    match log.first_after(&first.subject, expected).await {
        Ok(read) => Found::of(&first.payload, read.as_ref().map(|read| (read.seq, &*read.payload))),
        Err(error) => {
            tracing::debug!(%error, "the outcome of a write is not known yet");
            Found::Unread
        }
    }
}

/// The last message of a subject, from the leader.
pub async fn refresh(log: Log, subject: bus_schema::Subject) -> Input {
    let text = subject.to_string();
    let mut failed = Backoff::LEADER;
    loop {
        match log.last(&text).await {
            Ok(last) => return Input::Refreshed { subject, last: last.as_ref().and_then(read) },
            Err(error) => {
                tracing::debug!(%error, "a subject cannot be read yet");
                sleep(by_chance(failed.failed())).await;
            }
        }
    }
}

fn encode(message: &routing::Message) -> Write {
    let write = Write::new(message.subject.to_string(), message.event.encode());
    match message.expected {
        Some(seq) => write.expect(Expect::LastOnSubject(seq)),
        None => write,
    }
}

/// Asks the edges to keep the conversations quiet for a moment.
fn hold_on(signals: &Signals, write: &routing::Write) {
    let conversations = write.messages.iter().filter_map(|message| message.event.conversation_id);
    for conversation in conversations.collect::<BTreeSet<_>>() {
        signals.hold(write.tenant, conversation);
    }
}

pub(super) fn by_chance(pause: Pause) -> Duration {
    pause.shortened(rand::random())
}
