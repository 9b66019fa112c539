//! Writing several messages as one: all of them or none.
//!
//! Invariant: a caller's messages get consecutive sequences in the order given, and are stored or refused together.
//! Callers who come while a batch is under way share the next one: a server takes one after the other, and as long for
//! few messages as for many. Sharing shows in nothing but time, since a shared batch that is refused is halved until
//! everybody knows what became of their own.

use std::{
    collections::{HashSet, VecDeque},
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_nats::header::{NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL, NATS_BATCH_ID, NATS_BATCH_SEQUENCE};
use bus_schema::limits::BATCH_MESSAGES_MAX;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

use super::{Log, Write, WriteError};

/// Bytes of a batch that callers share; one caller's own may have more.
const SHARED_BYTES_MAX: usize = 1024 * 1024;
/// The next batch does not wait longer for an answer to this one, which may never come.
const LATE: Duration = Duration::from_millis(200);

/// What became of a caller's messages: the sequence of each.
type Outcome = Result<Vec<u64>, WriteError>;

/// Callers who wait for their turn, as many as may have writes in flight.
#[derive(Debug)]
pub(super) struct Batches {
    waiting: Mutex<VecDeque<Member>>,
    turn: Arc<Semaphore>,
}

/// One caller's messages, on their way.
#[derive(Debug)]
struct Member {
    writes: Vec<Write>,
    answer: oneshot::Sender<Outcome>,
}

impl Log {
    /// Stores all of `writes` or none, and gives the sequence of each. What was sent is sent, also if the future is
    /// dropped.
    ///
    /// A subject's expectation belongs on its first message of the batch alone: the server refuses a second one
    /// for ever. A message that repeats a stored `msg_id` makes the server refuse the whole batch.
    pub async fn publish_batch(&self, mut writes: Vec<Write>) -> Outcome {
        if writes.is_empty() || writes.len() > BATCH_MESSAGES_MAX {
            return Err(WriteError::Invalid);
        }
        if writes.len() == 1 {
            let only = writes.pop().expect("one was counted");
            return self.publish(only).await.map(|stored| vec![stored.seq]);
        }
        let _permit = self.shared.in_flight.acquire().await.expect("the semaphore is never closed");
        let (answer, outcome) = oneshot::channel();
        self.shared.batches.push(Member { writes, answer });
        self.send_waiting();
        outcome.await.unwrap_or(Err(WriteError::Unknown))
    }

    /// Sends what waits, unless somebody is at it.
    fn send_waiting(&self) {
        let Some(turn) = self.shared.batches.turn() else { return };
        let log = self.clone();
        tokio::spawn(async move {
            let together = log.shared.batches.next();
            let mut storing = pin!(log.store(together));
            let in_time = timeout(LATE, &mut storing).await;
            drop(turn);
            log.send_waiting();
            if in_time.is_err() {
                storing.await;
            }
        });
    }

    /// Stores what callers share, and tells each what became of their own.
    async fn store(&self, together: Vec<Member>) {
        let mut left = vec![together];
        while let Some(mut members) = left.pop() {
            let writes = members.iter().flat_map(|member| member.writes.iter().cloned()).collect();
            let outcome = self.send_batch(writes).await;
            let refused = matches!(&outcome, Err(error) if *error != WriteError::Unknown);
            if refused && members.len() > 1 {
                let second = members.split_off(members.len() / 2);
                left.extend([second, members]);
                continue;
            }
            let mut seqs = outcome.map(Vec::into_iter);
            for member in members {
                let own = seqs.as_mut().map(|seqs| seqs.take(member.writes.len()).collect());
                // Whoever went away does not wonder.
                let _ = member.answer.send(own.map_err(|error| error.clone()));
            }
        }
    }

    async fn send_batch(&self, writes: Vec<Write>) -> Outcome {
        let count = writes.len();
        let id = uuid::Uuid::now_v7().simple().to_string();
        let client = &self.shared.bus.client;
        for (at, write) in writes.into_iter().enumerate() {
            let (subject, mut headers, payload) = write.into_parts();
            headers.insert(NATS_BATCH_ID, id.as_str());
            headers.insert(NATS_BATCH_SEQUENCE, (at + 1).to_string());
            if at + 1 < count {
                // Nothing is stored before the commit, so a failure here is a refusal.
                client
                    .publish_with_headers(subject, headers, payload)
                    .await
                    .map_err(|_| WriteError::Invalid)?;
                continue;
            }
            headers.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
            let last = self.send(subject, headers, payload).await?.seq;
            let first = last.checked_sub(count as u64 - 1).ok_or(WriteError::Unknown)?;
            return Ok((first..=last).collect());
        }
        Err(WriteError::Invalid)
    }
}

impl Batches {
    pub fn new() -> Self {
        Self { waiting: Mutex::default(), turn: Arc::new(Semaphore::new(1)) }
    }

    fn push(&self, member: Member) {
        self.waiting.lock().expect("no holder panics").push_back(member);
    }

    /// The turn, if it is free and somebody waits.
    fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let waiting = self.waiting.lock().expect("no holder panics");
        if waiting.is_empty() { None } else { self.turn.clone().try_acquire_owned().ok() }
    }

    /// Who goes together, in the order they came. No two write the same subject: a batch has one expectation for each.
    fn next(&self) -> Vec<Member> {
        let mut waiting = self.waiting.lock().expect("no holder panics");
        let (mut together, mut subjects) = (Vec::new(), HashSet::new());
        let (mut count, mut bytes) = (0, 0);
        while let Some(member) = waiting.front() {
            count += member.writes.len();
            bytes += member.writes.iter().map(|write| write.payload.len()).sum::<usize>();
            let own: HashSet<String> = member.writes.iter().map(|write| write.subject.clone()).collect();
            let is_too_much = count > BATCH_MESSAGES_MAX || bytes > SHARED_BYTES_MAX;
            if !together.is_empty() && (is_too_much || !own.is_disjoint(&subjects)) {
                break;
            }
            subjects.extend(own);
            together.extend(waiting.pop_front());
        }
        together
    }
}
