//! A complete piece of the log, whichever replica answers.
//!
//! Invariant: `slice` gives every message up to an end that the leader named, ascending, or an error.

use std::time::Duration;

use crate::log::{Log, ReadError, StoredMsg};

/// Messages of one read.
const PAGE: usize = 256;
/// Reads that may end short before the leader is asked.
const REPLICA_TRIES: u32 = 2;
const LAG_PAUSE: Duration = Duration::from_millis(5);

/// What lies past the end that was asked for, as it may come along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsPast {
    Keep,
    Drop,
}

/// Reads all that matches `filter` from `from` through `up_to`, where the leader has said that `up_to` exists.
pub async fn slice(
    log: &Log,
    filter: &str,
    from: u64,
    up_to: u64,
    past: EventsPast,
    mut each: impl FnMut(StoredMsg),
) -> Result<(), ReadError> {
    let (mut next, mut short) = (from, 0);
    while next <= up_to {
        let leader = short >= REPLICA_TRIES;
        let found = if leader {
            log.read_leader(filter, next, PAGE).await
        } else {
            log.read(filter, next, PAGE).await
        }?;
        let ended = found.len() < PAGE;
        for message in found {
            next = message.seq + 1;
            if message.seq <= up_to || past == EventsPast::Keep {
                each(message);
            }
        }
        if ended && next <= up_to {
            if leader {
                // The leader has nothing more: what was at the end is gone for every reader.
                break;
            }
            short += 1;
            tokio::time::sleep(LAG_PAUSE).await;
        }
    }
    Ok(())
}
