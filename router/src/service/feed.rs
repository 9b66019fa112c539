//! What the core reads: the log's states and the configuration, each followed by a task of its own.
//!
//! Invariant: a task that cannot read says so and tries again; it never leaves anything out.

use std::time::Duration;

use anyhow::Context as _;
use bus_schema::{Subject, config::Record, stream, subject};
use ops::{
    health::Check,
    kv::Kv,
    log::{DeliverFrom, Log, StoredMsg},
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use super::commands::Asked;
use crate::{
    routing::{Input, Stored},
    steps::{Role, Source},
};

/// Inputs that wait for the loop; feeders wait beyond it.
pub const FEED_MAX: usize = 1024;
const RETRY: Duration = Duration::from_millis(500);
/// How often it is looked at whether a log that could not be read is read again, for it may be silent.
const MENDED_LOOK: Duration = Duration::from_secs(10);

/// What feeders tell the loop.
#[derive(Debug)]
pub enum Fed {
    Input(Input),
    /// A message of the log, and how many more there are.
    Log {
        stored: Stored,
        pending: u64,
    },
    /// Everything that was there at the beginning has been told.
    Whole(Source),
    Command(Asked),
    Role(Role),
}

pub type Feed = mpsc::Sender<Fed>;

/// The loop is gone: the process is about to end.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads any more")]
pub struct Gone;

pub async fn tell(feed: &Feed, fed: Fed) -> Result<(), Gone> {
    feed.send(fed).await.map_err(|_| Gone)
}

/// Follows the states of the shard: the last of each subject, then everything new.
pub async fn log(log: Log, feed: Feed, check: Check) -> anyhow::Result<()> {
    // Visitors' records are state too, but nothing that routing decides on.
    let filters: Vec<String> = subject::state_filters(log.shard())
        .into_iter()
        .filter(|filter| !filter.ends_with(".visitor.*"))
        .collect();
    let mut tail = loop {
        match log.tail(filters.clone(), DeliverFrom::LastPerSubject).await {
            Ok(tail) => break tail,
            Err(error) => unreachable(&check, &error).await,
        }
    };
    let mut whole = tail.pending() == 0;
    if whole && tell(&feed, Fed::Whole(Source::Log)).await.is_err() {
        return Ok(());
    }
    // How often reading had begun when it failed; none while it goes well.
    let mut failed: Option<u64> = None;
    loop {
        let next = match failed {
            Some(_) => timeout(MENDED_LOOK, tail.next()).await.ok(),
            None => Some(tail.next().await),
        };
        if failed.is_some_and(|begun| tail.begun() > begun) {
            failed = None;
            if whole {
                check.ok();
            }
        }
        let message = match next {
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                failed = Some(tail.begun());
                unreachable(&check, &error).await;
                continue;
            }
            None => continue,
        };
        let Some(stored) = read(&message) else {
            tracing::warn!(subject = message.subject, "a subject that is none of the log's was skipped");
            continue;
        };
        let pending = tail.pending();
        if tell(&feed, Fed::Log { stored, pending }).await.is_err() {
            return Ok(());
        }
        if !whole && pending == 0 {
            whole = true;
            if tell(&feed, Fed::Whole(Source::Log)).await.is_err() {
                return Ok(());
            }
        }
    }
}

pub fn read(message: &StoredMsg) -> Option<Stored> {
    let subject = Subject::parse(&message.subject).ok()?;
    Some(Stored::decode(subject, message.seq, message.at, &message.payload))
}

async fn unreachable(check: &Check, error: &(dyn std::error::Error + Send + Sync)) {
    check.fail(error.to_string());
    sleep(RETRY).await;
}

/// Follows the configuration. What cannot be read is said once and left as it was.
pub async fn config(kv: Kv, feed: Feed) -> anyhow::Result<()> {
    let mut watch = kv.watch(">").await.context("watch the configuration")?;
    let mut whole = false;
    loop {
        if !whole && watch.is_current() {
            whole = true;
            if tell(&feed, Fed::Whole(Source::Config)).await.is_err() {
                return Ok(());
            }
        }
        let change = match watch.next().await {
            Ok(change) => change,
            Err(error) => {
                tracing::warn!(%error, bucket = stream::CONFIG.name, "the configuration cannot be followed");
                sleep(RETRY).await;
                continue;
            }
        };
        let Some(value) = change.value else { continue };
        match Record::decode(&change.key, &value) {
            Ok(record) => {
                if tell(&feed, Fed::Input(Input::Config(record))).await.is_err() {
                    return Ok(());
                }
            }
            Err(error) => tracing::error!(%error, "a record of the configuration cannot be read"),
        }
    }
}
