//! Following the log in order, for router and persister.
//!
//! Invariant: every message that matches comes exactly once and in ascending order, or `next` fails: a lost
//! message, a lost consumer and a new leader are noticed by the consumer's own count, and reading goes on
//! behind the last message that was given out.

use std::time::Duration;

use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, DeliverPolicy, ReplayPolicy, pull},
};
use bus_schema::Timestamp;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::time::{Instant, sleep};

use super::{
    Log, StoredMsg,
    paced::{Messages, paced},
};
use crate::nats::Bus;

/// Messages asked for at once; the next are asked for before they run out.
const BATCH: usize = 1_000;
/// A pull request ends and is renewed after this time.
const EXPIRES: Duration = Duration::from_secs(30);
/// Without a sign of life for two of these the consumer is made anew.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// The server forgets a consumer that nobody reads after this time.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// How long making the consumer is tried before `next` fails; a caller may call it again.
const RETRY_FOR: Duration = Duration::from_secs(30);
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_secs(2);

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliverFrom {
    /// The first message there is.
    Start,
    /// This sequence, or the first one after it.
    Seq(u64),
    /// The last message of each matching subject, then everything new.
    LastPerSubject,
    /// Only what is stored from now on.
    New,
}

/// Why following stopped; calling `next` again tries again from the same place.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    #[error("stream {stream} cannot be followed")]
    Unreachable { stream: String, source: Box<dyn std::error::Error + Send + Sync> },
}

/// A reader of a stream.
pub struct Tail {
    bus: Bus,
    stream: String,
    filters: Vec<String>,
    from: DeliverFrom,
    pace: Option<Duration>,
    /// The last sequence that was given out, or the end of the log at a start from there.
    last: Option<u64>,
    pending: u64,
    /// How often reading was begun.
    begun: u64,
    reading: Option<Reading>,
}

struct Reading {
    messages: Messages,
    /// How many messages this consumer has sent.
    count: u64,
    /// The connection's count of reconnects when it was made: it may not survive the server it was made on.
    reconnects: u64,
}

impl Log {
    /// Follows what matches one of `filters`; with none, everything.
    pub async fn tail(&self, filters: Vec<String>, from: DeliverFrom) -> Result<Tail, TailError> {
        Tail::begin_at(self.bus().clone(), self.stream().to_owned(), filters, from, None).await
    }

    /// The same for a reader that is in no hurry: what is stored while it reads comes together, at most `pace` later.
    pub async fn tail_paced(
        &self,
        filters: Vec<String>,
        from: DeliverFrom,
        pace: Duration,
    ) -> Result<Tail, TailError> {
        Tail::begin_at(self.bus().clone(), self.stream().to_owned(), filters, from, Some(pace)).await
    }
}

impl Tail {
    /// Follows any stream, as buckets do.
    pub(crate) async fn begin_at(
        bus: Bus,
        stream: String,
        filters: Vec<String>,
        from: DeliverFrom,
        pace: Option<Duration>,
    ) -> Result<Self, TailError> {
        // Last messages are only given for a filter, so everything is one as well.
        let filters = if filters.is_empty() { vec![">".to_owned()] } else { filters };
        let mut tail =
            Self { bus, stream, filters, from, pace, last: None, pending: 0, begun: 0, reading: None };
        tail.begin().await?;
        Ok(tail)
    }

    /// The next message. Cancel-safe: nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<StoredMsg, TailError> {
        loop {
            let Some(reading) = &mut self.reading else {
                self.begin().await?;
                continue;
            };
            let reconnects = reading.reconnects;
            let next = tokio::select! {
                biased;
                _ = self.bus.state.wait_for(|state| state.reconnects != reconnects) => None,
                next = reading.messages.next() => next,
            };
            match next {
                Some(Ok(message)) => match self.accept(message) {
                    Some(stored) => return Ok(stored),
                    None => self.reading = None,
                },
                Some(Err(error)) => {
                    tracing::debug!(stream = self.stream, %error, "the consumer is made anew");
                    self.reading = None;
                }
                None => self.reading = None,
            }
        }
    }

    /// Messages that match and were stored, but not given out, when the last one was sent: 0 = caught up then.
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// The last sequence that was given out; with `New` at first the log's end when reading began.
    pub fn position(&self) -> Option<u64> {
        self.last
    }

    /// Grows each time the consumer is made anew: what comes then may be of a stream that was made anew too, and
    /// whoever keeps a position compares the log with it before going on.
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// Checks a message against the consumer's count; none if one was lost before it.
    fn accept(&mut self, message: jetstream::Message) -> Option<StoredMsg> {
        let reading = self.reading.as_mut()?;
        let info = message.info().ok()?;
        if info.consumer_sequence != reading.count + 1
            || self.last.is_some_and(|last| info.stream_sequence <= last)
        {
            return None;
        }
        let (seq, pending) = (info.stream_sequence, info.pending);
        let at = info.published.unix_timestamp_nanos().div_euclid(1_000_000);
        let at = Timestamp::from_millis(i64::try_from(at).ok()?);
        reading.count += 1;
        self.last = Some(seq);
        self.pending = pending;
        let message = message.message;
        Some(StoredMsg {
            subject: message.subject.into_string(),
            seq,
            at,
            headers: message.headers.unwrap_or_default(),
            payload: message.payload,
        })
    }

    async fn begin(&mut self) -> Result<(), TailError> {
        let deadline = Instant::now() + RETRY_FOR;
        let mut pause = RETRY_FIRST;
        loop {
            // Boxed: making a consumer is rare, and its future is far larger than reading's.
            let source = match Box::pin(self.try_begin()).await {
                Ok(()) => return Ok(()),
                Err(source) => source,
            };
            if Instant::now() + pause >= deadline {
                return Err(TailError::Unreachable { stream: self.stream.clone(), source });
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_LAST);
        }
    }

    async fn try_begin(&mut self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let reconnects = self.bus.state.borrow().reconnects;
        let context = jetstream::new(self.bus.client.clone());
        let config = pull::Config {
            deliver_policy: self.policy(),
            ack_policy: AckPolicy::None,
            replay_policy: ReplayPolicy::Instant,
            filter_subjects: self.filters.clone(),
            inactive_threshold: FORGOTTEN_AFTER,
            num_replicas: 1,
            memory_storage: true,
            max_deliver: -1,
            ..pull::Config::default()
        };
        let consumer = context.create_consumer_on_stream(config, &self.stream).await?;
        let info = consumer.cached_info();
        self.pending = info.num_pending;
        if self.last.is_none() && self.from == DeliverFrom::New {
            // A consumer made anew must not skip what came in between.
            self.last = Some(info.delivered.stream_sequence);
        }
        let messages = match self.pace {
            Some(pace) => paced(consumer, pace),
            None => {
                let stream = consumer.stream().max_messages_per_batch(BATCH).expires(EXPIRES);
                stream.heartbeat(HEARTBEAT).messages().await?.map_err(Into::into).boxed()
            }
        };
        self.reading = Some(Reading { messages, count: 0, reconnects });
        self.begun += 1;
        Ok(())
    }

    fn policy(&self) -> DeliverPolicy {
        match (self.last, self.from) {
            (Some(last), _) => DeliverPolicy::ByStartSequence { start_sequence: last + 1 },
            (None, DeliverFrom::Start) => DeliverPolicy::All,
            (None, DeliverFrom::Seq(seq)) => DeliverPolicy::ByStartSequence { start_sequence: seq.max(1) },
            (None, DeliverFrom::LastPerSubject) => DeliverPolicy::LastPerSubject,
            (None, DeliverFrom::New) => DeliverPolicy::New,
        }
    }
}
