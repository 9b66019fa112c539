//! Key-value buckets, thin over the client, with what it lacks: writes that expire by themselves.
//!
//! Invariant: a write with an expected revision is stored only if that revision is the key's last; reads may
//! lag, so what decides is such a write.

use std::time::Duration;

use async_nats::{
    HeaderMap, Request, RequestErrorKind,
    header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MARKER_REASON, NATS_MESSAGE_TTL, NATS_ROLLUP},
    jetstream::{self, kv},
};
use bus_schema::stream::BucketDef;
use bytes::Bytes;
use futures::TryStreamExt as _;

use crate::{
    log::{ACK_WAIT, DeliverFrom, Tail, TailError, WriteError, parse_ack, stream_end},
    nats::Bus,
};

pub use async_nats::jetstream::kv::{Entry, Operation};

/// A bucket; cheap to clone.
#[derive(Debug, Clone)]
pub struct Kv {
    bus: Bus,
    store: kv::Store,
    bucket: &'static str,
}

/// What a message of a bucket is, unless it is a value.
const OPERATION: &str = "KV-Operation";
/// How long it is said that a removed key is gone.
const GONE_TTL: &str = "60s";

type Source = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum KvError {
    #[error("open bucket {bucket}")]
    Open { bucket: &'static str, source: Source },
    #[error("read bucket {bucket}")]
    Read { bucket: &'static str, source: Source },
    #[error("write to bucket {bucket}")]
    Write { bucket: &'static str, source: WriteError },
}

impl KvError {
    /// Whether the expected revision was not the last one.
    pub fn is_mismatch(&self) -> bool {
        matches!(self, Self::Write { source: WriteError::Mismatch, .. })
    }
}

impl Kv {
    pub async fn open(bus: &Bus, bucket: BucketDef) -> Result<Self, KvError> {
        let context = jetstream::new(bus.client.clone());
        match Box::pin(context.get_key_value(bucket.name)).await {
            Ok(store) => Ok(Self { bus: bus.clone(), store, bucket: bucket.name }),
            Err(error) => Err(KvError::Open { bucket: bucket.name, source: error.into() }),
        }
    }

    /// The key's last value, if it has one.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, KvError> {
        let entry = self.store.entry(key).await.map_err(|error| self.read(error))?;
        Ok(entry.filter(|entry| entry.operation == Operation::Put))
    }

    /// Writes whatever was there; gives the new revision.
    pub async fn put(&self, key: &str, value: impl Into<Bytes>) -> Result<u64, KvError> {
        self.write(key, value.into(), None, None).await
    }

    /// Writes a value that goes by itself after `ttl`, which counts in whole seconds.
    pub async fn put_for(&self, key: &str, value: impl Into<Bytes>, ttl: Duration) -> Result<u64, KvError> {
        self.write(key, value.into(), None, Some(ttl)).await
    }

    /// Writes only if `revision` is the key's last; 0 = the key was never written.
    pub async fn update(&self, key: &str, value: impl Into<Bytes>, revision: u64) -> Result<u64, KvError> {
        self.write(key, value.into(), Some(revision), None).await
    }

    /// The same for a value that goes by itself: how leases are taken and kept.
    pub async fn update_for(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        revision: u64,
        ttl: Duration,
    ) -> Result<u64, KvError> {
        self.write(key, value.into(), Some(revision), Some(ttl)).await
    }

    /// Writes only if the key has no value, also after one went or was deleted; a mismatch if it has.
    pub async fn create(
        &self,
        key: &str,
        value: impl Into<Bytes>,
        ttl: Option<Duration>,
    ) -> Result<u64, KvError> {
        let value = value.into();
        match self.write(key, value.clone(), Some(0), ttl).await {
            Err(error) if error.is_mismatch() => {}
            done => return done,
        }
        match self.store.entry(key).await.map_err(|error| self.read(error))? {
            Some(gone) if gone.operation != Operation::Put => {
                self.write(key, value, Some(gone.revision), ttl).await
            }
            Some(_) | None => Err(KvError::Write { bucket: self.bucket, source: WriteError::Mismatch }),
        }
    }

    /// Takes a key away, only at this revision if one is given; what says so goes by itself after a while. For
    /// buckets whose keys come and go without end.
    pub async fn remove(&self, key: &str, revision: Option<u64>) -> Result<(), KvError> {
        let mut headers = HeaderMap::new();
        headers.insert(OPERATION, "PURGE");
        headers.insert(NATS_ROLLUP, "sub");
        headers.insert(NATS_MESSAGE_TTL, GONE_TTL);
        if let Some(revision) = revision {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision.to_string());
        }
        self.send(key, headers, Bytes::new()).await.map(drop)
    }

    pub async fn delete(&self, key: &str) -> Result<(), KvError> {
        self.store.delete(key).await.map_err(|error| self.read(error))
    }

    /// Takes a key away only if `revision` is its last; what says so stays, as it does after [`Kv::delete`].
    pub async fn delete_at(&self, key: &str, revision: u64) -> Result<(), KvError> {
        let mut headers = HeaderMap::new();
        headers.insert(OPERATION, "DEL");
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision.to_string());
        self.send(key, headers, Bytes::new()).await.map(drop)
    }

    /// All keys that have a value.
    pub async fn keys(&self) -> Result<Vec<String>, KvError> {
        let keys = Box::pin(self.store.keys()).await.map_err(|error| self.read(error))?;
        keys.try_collect().await.map_err(|error| self.read(error))
    }

    /// The revision of the bucket's last change, of any key, as the leader has it.
    pub async fn last_revision(&self) -> Result<u64, KvError> {
        let end = stream_end(&self.bus.client, &format!("KV_{}", self.bucket)).await;
        end.map(|end| end.last).map_err(|error| self.read(error))
    }

    /// What matches `pattern` (`>` for all): first everything that is there, then every change, in order.
    pub async fn watch(&self, pattern: &str) -> Result<Watch, KvError> {
        let prefix = format!("$KV.{}.", self.bucket);
        let (bus, stream) = (self.bus.clone(), format!("KV_{}", self.bucket));
        let filters = vec![format!("{prefix}{pattern}")];
        let tail = Tail::begin_at(bus, stream, filters, DeliverFrom::LastPerSubject, None).await;
        Ok(Watch { tail: tail.map_err(|error| self.read(error))?, prefix, bucket: self.bucket })
    }

    async fn write(
        &self,
        key: &str,
        value: Bytes,
        revision: Option<u64>,
        ttl: Option<Duration>,
    ) -> Result<u64, KvError> {
        let mut headers = HeaderMap::new();
        if let Some(revision) = revision {
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision.to_string());
        }
        if let Some(ttl) = ttl {
            // Never shorter than asked for: a lease may end late, not early.
            let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
            headers.insert(NATS_MESSAGE_TTL, format!("{}s", seconds.max(1)));
        }
        self.send(key, headers, value).await
    }

    async fn send(&self, key: &str, headers: HeaderMap, value: Bytes) -> Result<u64, KvError> {
        let request = Request::new().headers(headers).payload(value).timeout(Some(ACK_WAIT));
        let subject = format!("$KV.{}.{key}", self.bucket);
        let stored = match self.bus.client.send_request(subject, request).await {
            Ok(answer) => parse_ack(&answer.payload),
            Err(error) => Err(match error.kind() {
                RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                    WriteError::Invalid
                }
                RequestErrorKind::NoResponders | RequestErrorKind::TimedOut | RequestErrorKind::Other => {
                    WriteError::Unknown
                }
            }),
        };
        stored.map(|stored| stored.seq).map_err(|source| KvError::Write { bucket: self.bucket, source })
    }

    fn read(&self, error: impl Into<Source>) -> KvError {
        KvError::Read { bucket: self.bucket, source: error.into() }
    }
}

/// A value that came, or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: String,
    /// None: it was deleted, or its time was over.
    pub value: Option<Bytes>,
    pub revision: u64,
}

/// A bucket's values and changes.
pub struct Watch {
    tail: Tail,
    prefix: String,
    bucket: &'static str,
}

impl Watch {
    /// Whether everything that was there has been given: at once for a bucket that is empty.
    pub fn is_current(&self) -> bool {
        self.tail.pending() == 0
    }

    /// The next value or change. Cancel-safe; after an error it goes on where it was.
    pub async fn next(&mut self) -> Result<Change, KvError> {
        let source = |error: TailError| KvError::Read { bucket: self.bucket, source: error.into() };
        let message = self.tail.next().await.map_err(source)?;
        let gone = message.headers.get(OPERATION).is_some_and(|operation| operation.as_str() != "PUT")
            || message.headers.get(NATS_MARKER_REASON).is_some();
        Ok(Change {
            key: message.subject.strip_prefix(&self.prefix).unwrap_or(&message.subject).to_owned(),
            value: (!gone).then_some(message.payload),
            revision: message.seq,
        })
    }
}
