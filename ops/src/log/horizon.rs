//! How far down the log is whole: below its horizon it may have been trimmed (design §2.3).
//!
//! Invariant: whoever asks after a read, and hears the horizon that the read was made with, has read nothing that was
//! trimmed: the horizon rises before anything is, and the answer is the leader's, asked after the question came.

use std::sync::atomic::{AtomicU64, Ordering};

use bus_schema::{Shard, stream};
use tokio::{sync::Mutex, time::Instant};

use super::{Log, ReadError, leader};
use crate::{
    kv::{Kv, KvError},
    nats::Bus,
};

/// What is known of the horizon of one log.
#[derive(Debug)]
pub(super) struct Horizon {
    /// It only grows.
    known: AtomicU64,
    /// When the last question was asked that was answered. Who waits for the lock shares the next answer.
    asked: Mutex<Option<Instant>>,
    /// Where the server keeps it.
    get: String,
    subject: String,
}

impl Horizon {
    pub(super) fn new(shard: Shard) -> Self {
        let bucket = stream::META.name;
        Self {
            known: AtomicU64::new(0),
            asked: Mutex::new(None),
            get: format!("$JS.API.STREAM.MSG.GET.KV_{bucket}"),
            subject: format!("$KV.{bucket}.{}", stream::horizon(shard)),
        }
    }
}

impl Log {
    /// The first sequence from which on the log is whole, as it was last heard: what a read begins with.
    pub fn known_horizon(&self) -> u64 {
        self.shared.horizon.known.load(Ordering::Acquire)
    }

    /// The same as it is now: what a read is checked with.
    pub async fn horizon(&self) -> Result<u64, ReadError> {
        let horizon = &self.shared.horizon;
        let came = Instant::now();
        let mut asked = horizon.asked.lock().await;
        if asked.is_none_or(|asked| asked < came) {
            let now = Instant::now();
            let question = leader::Question::Last { last_by_subj: &horizon.subject };
            if let Some(stored) = self.get_from(&horizon.get, &question).await? {
                let seq = stream::parse_horizon(&stored.payload).ok_or(ReadError::Malformed)?;
                horizon.known.fetch_max(seq, Ordering::AcqRel);
            }
            *asked = Some(now);
        }
        Ok(self.known_horizon())
    }
}

/// Raises the horizon before a trim; one that is as high already stays.
pub async fn raise_horizon(bus: &Bus, shard: Shard, to: u64) -> Result<(), KvError> {
    let meta = Kv::open(bus, stream::META).await?;
    let key = stream::horizon(shard);
    loop {
        let entry = meta.get(&key).await?;
        let now = entry.as_ref().and_then(|entry| stream::parse_horizon(&entry.value));
        if now.is_some_and(|now| now >= to) {
            return Ok(());
        }
        let revision = entry.map_or(0, |entry| entry.revision);
        match meta.update(&key, to.to_string(), revision).await {
            // Somebody else raised it: perhaps not as far.
            Err(error) if error.is_mismatch() => {}
            done => return done.map(|_| ()),
        }
    }
}
