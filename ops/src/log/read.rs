//! Batched reads from any replica: fast, and possibly a little behind the leader.
//!
//! Invariant: what is returned is ascending and has no hole in it; it may end early, where the replica ends.

use std::time::Duration;

use async_nats::{Message, header::NATS_LAST_SEQUENCE};
use bytes::Bytes;
use serde::Serialize;
use tokio::time::timeout;

use super::{Log, READ_BYTES_MAX, READ_MAX, READ_WAIT, StoredMsg, stored::number};

/// Tries of one batched read before it fails.
const TRIES: u32 = 3;
const PENDING: &str = "Nats-Num-Pending";
const END_OF_BATCH: u16 = 204;
const NOT_FOUND: u16 = 404;
const TOO_MANY: u16 = 413;
const NO_RESPONDERS: u16 = 503;

/// Why nothing could be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("no answer in time")]
    TimedOut,
    #[error("the stream is not reachable now")]
    Unavailable,
    #[error("more than {READ_MAX} subjects match")]
    TooMany,
    #[error("the server refused the read ({code}): {text}")]
    Refused { code: u64, text: String },
    #[error("the server's answer cannot be read")]
    Malformed,
    #[error("the stream names no epoch: it was not made by ops provision")]
    NoEpoch,
}

#[derive(Serialize)]
struct Batch<'a> {
    seq: u64,
    next_by_subj: &'a str,
    batch: usize,
    max_bytes: usize,
}

#[derive(Serialize)]
struct LastOf<'a> {
    multi_last: &'a [String],
    batch: usize,
}

/// One answer of the server, whole.
#[derive(Debug)]
pub struct Piece {
    pub messages: Vec<StoredMsg>,
    /// Messages that match beyond the last one here, as the replica that answered has it.
    pub pending: u64,
}

impl Log {
    /// At most `max` messages that match `filter`, from sequence `from` upwards.
    pub async fn read(&self, filter: &str, from: u64, max: usize) -> Result<Vec<StoredMsg>, ReadError> {
        let mut found: Vec<StoredMsg> = Vec::new();
        while found.len() < max {
            let seq = found.last().map_or(from, |last| last.seq + 1);
            let batch = max - found.len();
            let piece = self.piece(filter, seq, batch).await?;
            let over = piece.pending == 0 || piece.messages.is_empty();
            found.extend(piece.messages);
            if over {
                break;
            }
        }
        Ok(found)
    }

    /// The same in one question, for at most [`READ_MAX`] messages and about [`READ_BYTES_MAX`], with how many there are
    /// beyond.
    pub async fn piece(&self, filter: &str, from: u64, max: usize) -> Result<Piece, ReadError> {
        let batch = max.min(READ_MAX);
        let question = Batch { seq: from.max(1), next_by_subj: filter, batch, max_bytes: READ_BYTES_MAX };
        self.ask_for(&question, batch, true).await
    }

    /// The last message of each subject that matches one of `filters`, ascending.
    pub async fn last_of(&self, filters: &[String]) -> Result<Vec<StoredMsg>, ReadError> {
        if filters.is_empty() {
            return Ok(Vec::new());
        }
        let question = LastOf { multi_last: filters, batch: READ_MAX };
        let mut piece = self.ask_for(&question, READ_MAX, false).await?;
        piece.messages.sort_unstable_by_key(|message| message.seq);
        Ok(piece.messages)
    }

    async fn ask_for(
        &self,
        question: &impl Serialize,
        most: usize,
        chained: bool,
    ) -> Result<Piece, ReadError> {
        let payload = Bytes::from(serde_json::to_vec(question).map_err(|_| ReadError::Malformed)?);
        let mut error = ReadError::TimedOut;
        for _ in 0..TRIES {
            match self.try_ask_for(payload.clone(), most, chained).await {
                Ok(piece) => return Ok(piece),
                // A lost answer, a leader that is moving: the question is harmless to repeat.
                Err(failed @ (ReadError::TimedOut | ReadError::Unavailable | ReadError::Malformed)) => {
                    error = failed
                }
                Err(failed @ (ReadError::TooMany | ReadError::Refused { .. } | ReadError::NoEpoch)) => {
                    return Err(failed);
                }
            }
            if error == ReadError::Unavailable {
                tokio::time::sleep(Duration::from_millis(rand::random_range(20..100))).await;
            }
        }
        Err(error)
    }

    async fn try_ask_for(&self, payload: Bytes, most: usize, chained: bool) -> Result<Piece, ReadError> {
        let _turn = self.shared.reads.acquire().await.expect("the semaphore is never closed");
        // One more for the end of the batch.
        let mut answers = self.shared.gather.ask(&self.shared.direct_get, payload, most + 1).await?;
        let mut piece = Piece { messages: Vec::new(), pending: 0 };
        loop {
            let next = timeout(READ_WAIT, answers.next()).await.map_err(|_| ReadError::TimedOut)?;
            let answer = next.ok_or(ReadError::Unavailable)?;
            match answer.status.map(|status| status.as_u16()) {
                None => {
                    // One was lost on the way.
                    if chained && !follows(&piece.messages, &answer) {
                        return Err(ReadError::Unavailable);
                    }
                    piece.messages.push(StoredMsg::from_direct(answer).ok_or(ReadError::Malformed)?);
                }
                Some(END_OF_BATCH) => {
                    let headers = answer.headers.ok_or(ReadError::Malformed)?;
                    piece.pending = number(&headers, PENDING).unwrap_or(0);
                    let last = number(&headers, NATS_LAST_SEQUENCE);
                    if chained && last.is_some() && last != piece.messages.last().map(|message| message.seq) {
                        return Err(ReadError::Unavailable);
                    }
                    return Ok(piece);
                }
                Some(NOT_FOUND) => return Ok(piece),
                Some(TOO_MANY) => return Err(ReadError::TooMany),
                Some(NO_RESPONDERS) => return Err(ReadError::Unavailable),
                Some(code) => {
                    let text = answer.description.unwrap_or_default();
                    return Err(ReadError::Refused { code: code.into(), text });
                }
            }
        }
    }
}

/// Each answer names the one before it, so that a lost one shows.
fn follows(before: &[StoredMsg], answer: &Message) -> bool {
    let named = answer.headers.as_ref().and_then(|headers| number(headers, NATS_LAST_SEQUENCE));
    match (before.last(), named) {
        (Some(last), Some(named)) => last.seq == named,
        (None, Some(named)) => named == 0,
        (_, None) => true,
    }
}
