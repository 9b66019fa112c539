//! Writing one message.
//!
//! Invariant: at most `IN_FLIGHT_MAX` writes wait for an answer; a caller that goes away leaves the outcome
//! unknown, never the bound exceeded.

use async_nats::{
    HeaderMap, Request, RequestErrorKind,
    header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID},
};
use bytes::Bytes;
use metrics::{Counter, Histogram, counter, histogram};
use tokio::time::Instant;

use super::{ACK_WAIT, Log, ack};
use crate::{
    metrics::{Metric, counter as counter_of, histogram as histogram_of},
    wire::{HeaderBlock, Lost, Wire},
};

pub(super) const EXPECTED_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";
pub(super) const EXPECTED_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";

/// A message to be written.
#[derive(Debug, Clone)]
pub struct Write {
    pub subject: String,
    pub payload: Bytes,
    /// Makes a repeat within the duplicate window answer `duplicate`. Not together with a compare-and-set on
    /// the written subject: replicas answer differently then.
    pub msg_id: Option<String>,
    pub expect: Option<Expect>,
}

/// What must hold for the write to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// The last message of the written subject has this sequence; 0 = there is none.
    LastOnSubject(u64),
    /// The last message of `subject` has sequence `seq`.
    LastOn { subject: String, seq: u64 },
}

/// The message is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub seq: u64,
    /// The same `msg_id` was stored before; `seq` is the first one's.
    pub duplicate: bool,
}

/// The message is not in the log, or (`Unknown`) may be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("the expectation does not hold")]
    Mismatch,
    #[error("another write with the same expectation is under way: try again shortly")]
    InFlight,
    #[error("the same message id is under way: try again shortly")]
    DuplicateInFlight,
    #[error("the log is at its size limit")]
    Full,
    #[error("the outcome is unknown: it may be stored or not")]
    Unknown,
    #[error("the server refused the write ({code}): {text}")]
    Refused { code: u64, text: String },
    #[error("the message is larger than the server takes, or its subject is invalid")]
    Invalid,
}

impl WriteError {
    /// Its name as a metric's label.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Mismatch => "mismatch",
            Self::InFlight => "in_flight",
            Self::DuplicateInFlight => "duplicate_in_flight",
            Self::Full => "full",
            Self::Unknown => "unknown",
            Self::Refused { .. } => "refused",
            Self::Invalid => "invalid",
        }
    }

    /// Whether the same write may succeed a few milliseconds later.
    pub const fn is_contention(&self) -> bool {
        matches!(self, Self::InFlight | Self::DuplicateInFlight)
    }
}

impl From<Lost> for WriteError {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Invalid => Self::Invalid,
            // No responders: the stream has no leader right now, or is not there at all.
            Lost::TimedOut | Lost::Disconnected | Lost::NoResponders | Lost::Busy => Self::Unknown,
        }
    }
}

impl Write {
    pub fn new(subject: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self { subject: subject.into(), payload: payload.into(), msg_id: None, expect: None }
    }

    pub fn msg_id(mut self, id: impl Into<String>) -> Self {
        self.msg_id = Some(id.into());
        self
    }

    pub fn expect(mut self, expect: Expect) -> Self {
        self.expect = Some(expect);
        self
    }

    fn header_block(&self) -> HeaderBlock {
        let mut headers = HeaderBlock::default();
        if let Some(id) = &self.msg_id {
            headers.add("Nats-Msg-Id", id);
        }
        match &self.expect {
            None => {}
            Some(Expect::LastOnSubject(seq)) => headers.add_number(EXPECTED_SEQUENCE, *seq),
            Some(Expect::LastOn { subject, seq }) => {
                headers.add_number(EXPECTED_SEQUENCE, *seq);
                headers.add(EXPECTED_SUBJECT, subject);
            }
        }
        headers
    }

    /// The subject, headers and payload to send.
    pub(super) fn into_parts(self) -> (String, HeaderMap, Bytes) {
        let mut headers = HeaderMap::new();
        if let Some(id) = self.msg_id {
            headers.insert(NATS_MESSAGE_ID, id);
        }
        match self.expect {
            None => {}
            Some(Expect::LastOnSubject(seq)) => {
                headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, seq.to_string());
            }
            Some(Expect::LastOn { subject, seq }) => {
                headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, seq.to_string());
                headers.insert(EXPECTED_SUBJECT, subject);
            }
        }
        (self.subject, headers, self.payload)
    }
}

impl Log {
    /// Stores one message. Dropping the future does not take back what was sent.
    pub async fn publish(&self, write: Write) -> Result<Stored, WriteError> {
        let _permit = self.shared.in_flight.acquire().await.expect("the semaphore is never closed");
        let Some(wire) = &self.wire else {
            let (subject, headers, payload) = write.into_parts();
            return self.send(subject, headers, payload).await;
        };
        let began = Instant::now();
        let answer = wire.request(&write.subject, &write.header_block(), &write.payload, ACK_WAIT).await;
        self.outcome(began, answer.as_deref().map_err(|lost| *lost))
    }

    /// Begins to store one message for the owner of `wire`, who gets the answer under `key` and reads it with
    /// `outcome`. Outside of this process's bound: the owner has its own.
    pub fn begin(&self, wire: &Wire, key: u64, write: &Write) -> Result<(), WriteError> {
        wire.ask(key, &write.subject, &write.header_block(), &write.payload, ACK_WAIT)
            .map_err(WriteError::from)
    }

    /// Reads the answer to a write.
    pub fn outcome(&self, began: Instant, answer: Result<&[u8], Lost>) -> Result<Stored, WriteError> {
        let outcome = answer.map_err(WriteError::from).and_then(ack::parse);
        self.shared.measures.record(began, outcome.as_ref().err());
        outcome
    }

    /// Sends and waits for the answer; the caller holds a permit.
    pub(super) async fn send(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Stored, WriteError> {
        let began = Instant::now();
        let request = Request::new().headers(headers).payload(payload).timeout(Some(ACK_WAIT));
        let outcome = match self.shared.bus.client.send_request(subject, request).await {
            Ok(answer) => ack::parse(&answer.payload),
            Err(error) => Err(match error.kind() {
                RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                    WriteError::Invalid
                }
                // No responders: the stream has no leader right now, or is not there at all.
                RequestErrorKind::NoResponders | RequestErrorKind::TimedOut | RequestErrorKind::Other => {
                    WriteError::Unknown
                }
            }),
        };
        self.shared.measures.record(began, outcome.as_ref().err());
        outcome
    }
}

const SECONDS: &str = "chatbus_nats_publish_seconds";
const LOOKUPS: &str = "chatbus_send_lookups_total";
const FAILURES: &str = "chatbus_nats_publish_failures_total";

pub(super) const METRICS: &[Metric] = &[
    histogram_of(SECONDS, "Time from sending a write to the answer that it is stored."),
    counter_of(FAILURES, "Writes that were not stored, or may not be, by reason."),
    counter_of(LOOKUPS, "Sends that were looked up in the log because they may be stored, by outcome."),
];

/// Handles of the metrics of writing, looked up once.
#[derive(Debug)]
pub(super) struct Measures {
    seconds: Histogram,
    mismatch: Counter,
    contention: Counter,
    full: Counter,
    unknown: Counter,
    refused: Counter,
    looked_up: Counter,
    lookups_refused: Counter,
}

impl Measures {
    pub(super) fn new() -> Self {
        let failures = |reason: &'static str| counter!(FAILURES, "reason" => reason);
        Self {
            seconds: histogram!(SECONDS),
            mismatch: failures("mismatch"),
            contention: failures("contention"),
            full: failures("full"),
            unknown: failures("unknown"),
            refused: failures("refused"),
            looked_up: counter!(LOOKUPS, "outcome" => "read"),
            lookups_refused: counter!(LOOKUPS, "outcome" => "refused"),
        }
    }

    pub(super) fn looked(&self, had_a_turn: bool) {
        if had_a_turn { self.looked_up.increment(1) } else { self.lookups_refused.increment(1) }
    }

    fn record(&self, began: Instant, error: Option<&WriteError>) {
        match error {
            None => self.seconds.record(began.elapsed()),
            Some(WriteError::Mismatch) => self.mismatch.increment(1),
            Some(WriteError::InFlight | WriteError::DuplicateInFlight) => self.contention.increment(1),
            Some(WriteError::Full) => self.full.increment(1),
            Some(WriteError::Unknown) => self.unknown.increment(1),
            Some(WriteError::Refused { .. } | WriteError::Invalid) => self.refused.increment(1),
        }
    }
}
