//! The last part of a filling log is kept for closing, assigning and erasing (design §2.2).
//!
//! Invariant: the log is looked at every few seconds, so what is refused follows how full it is; while it cannot be
//! looked at, what held last holds on.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use bus_schema::Shard;
use ops::log::StreamEnd;
use tokio::time::sleep;

use crate::app::App;

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// From here on marks are refused …
const NO_MARKS_PERCENT: u64 = 80;
/// … and from here everything that people say.
const NO_EVENTS_PERCENT: u64 = 90;

/// How full a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Fill {
    Room,
    NoMarks,
    NoEvents,
}

#[derive(Debug)]
pub struct Reserve(BTreeMap<Shard, AtomicU8>);

impl Reserve {
    pub fn new(shards: &[Shard]) -> Self {
        Self(shards.iter().map(|shard| (*shard, AtomicU8::new(Fill::Room as u8))).collect())
    }

    pub fn fill(&self, shard: Shard) -> Fill {
        let fill = self.0.get(&shard).map_or(0, |fill| fill.load(Ordering::Relaxed));
        [Fill::NoEvents, Fill::NoMarks].into_iter().find(|at| fill >= *at as u8).unwrap_or(Fill::Room)
    }

    fn set(&self, shard: Shard, fill: Fill) {
        let Some(known) = self.0.get(&shard) else { return };
        if known.swap(fill as u8, Ordering::Relaxed) != fill as u8 {
            tracing::warn!(%shard, ?fill, "how full the log is has changed what is taken");
        }
    }
}

fn fill_of(end: &StreamEnd) -> Fill {
    let Some(most) = end.bytes_max else { return Fill::Room };
    let percent = u128::from(end.bytes) * 100 / u128::from(most.max(1));
    match percent {
        percent if percent >= NO_EVENTS_PERCENT.into() => Fill::NoEvents,
        percent if percent >= NO_MARKS_PERCENT.into() => Fill::NoMarks,
        _ => Fill::Room,
    }
}

/// Looks at every log from time to time.
pub async fn follow(app: Arc<App>) {
    loop {
        for (shard, (log, _)) in &app.core.shards {
            match log.end().await {
                Ok(end) => app.admission.reserve.set(*shard, fill_of(&end)),
                Err(error) => tracing::debug!(%error, %shard, "how full the log is cannot be seen now"),
            }
        }
        sleep(LOOK_EVERY.mul_f64(rand::random_range(0.8..1.2))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_go_first_then_everything_and_no_limit_never_fills() {
        let end = |bytes, bytes_max| StreamEnd {
            first: 1,
            last: 1,
            bytes,
            bytes_max,
            replicas: 1,
            metadata: Default::default(),
        };
        for (bytes, fill) in [
            (0, Fill::Room),
            (799, Fill::Room),
            (800, Fill::NoMarks),
            (899, Fill::NoMarks),
            (900, Fill::NoEvents),
            (1_000, Fill::NoEvents),
        ] {
            assert_eq!(fill_of(&end(bytes, Some(1_000))), fill, "{bytes}");
        }
        assert_eq!(fill_of(&end(u64::MAX, None)), Fill::Room);
    }
}
