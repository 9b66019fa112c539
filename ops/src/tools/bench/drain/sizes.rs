//! Where in the log a drain is timed, and what a log of that length needs.

use std::time::Duration;

use anyhow::ensure;

/// Slower than this is given up.
const SLOWEST_PER_SECOND: u64 = 1_000;
const START_WITHIN: Duration = Duration::from_secs(60);
/// What an event takes in the log beside its text, with its subject and headers; the largest carry a decision.
const EVENT_BYTES: u64 = 1 << 10;
/// One part in so many is added, for what comes out larger.
const SPARE: u64 = 4;

/// The events after one sequence and up to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub after: u64,
    pub up_to: u64,
}

impl Window {
    pub fn len(self) -> u64 {
        self.up_to - self.after
    }
}

/// Windows of `events` that begin at each of `at`, in order.
pub fn windows(at: &[u64], events: u64) -> anyhow::Result<Vec<Window>> {
    ensure!(!at.is_empty(), "--at names no size");
    let windows: Vec<_> = at.iter().map(|&after| Window { after, up_to: after + events }).collect();
    for pair in windows.windows(2) {
        ensure!(
            pair[0].up_to <= pair[1].after,
            "--at grows by {events} events at least (--events), not from {} to {}",
            pair[0].after,
            pair[1].after
        );
    }
    Ok(windows)
}

/// Within which so many events are drained, however slow.
pub fn drained_within(events: u64) -> Duration {
    START_WITHIN + Duration::from_secs(events / SLOWEST_PER_SECOND)
}

/// Bytes of a log that has room for so many events with texts of `text` bytes.
pub fn log_bytes(events: u64, text: u64) -> u64 {
    let bytes = events * (EVENT_BYTES + text);
    bytes + bytes / SPARE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_follow_each_other_and_never_overlap() {
        let of = |at: &[u64]| windows(at, 200);
        assert_eq!(
            of(&[0, 1_000]).unwrap(),
            [Window { after: 0, up_to: 200 }, Window { after: 1_000, up_to: 1_200 }]
        );
        assert!(of(&[]).is_err() && of(&[0, 199]).is_err() && of(&[1_000, 0]).is_err());
        assert_eq!(of(&[0, 200]).unwrap()[1].len(), 200);
    }

    #[test]
    fn ten_million_events_have_time_and_room() {
        assert!(drained_within(10_000_000) > Duration::from_secs(2 * 60 * 60));
        assert!(log_bytes(10_000_000, 300) > 10_000_000 * 1_300);
    }
}
