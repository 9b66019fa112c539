//! How large the log may become on the disk that is here.
//!
//! Invariant: what exists keeps its size; a new log never reserves more than a part of what is free, so that a small
//! disk is enough to try the system.

use std::path::Path;

use bus_schema::Shard;

use crate::{log, nats::Bus};

/// A log on a fuller disk is refused by nats-server, which gives streams three quarters of what is free.
const SHARE: u64 = 4;
/// Less is not worth a try: the server then says what is missing.
const LEAST: u64 = 64 << 20;

/// The limit for logs under `dir` that are to hold `wanted` bytes, with so many copies of each on the same disk.
pub async fn log_bytes(bus: &Bus, shards: &[Shard], dir: &Path, replicas: usize, wanted: u64) -> u64 {
    for shard in shards {
        let found = log::stream_end(&bus.client, &bus_schema::stream::log_name(*shard)).await;
        if let Ok(found) = found {
            return found.bytes_max.unwrap_or(wanted);
        }
    }
    match rustix::fs::statvfs(dir) {
        Ok(disk) => fitting(disk.f_bavail * disk.f_frsize, shards.len() * replicas, wanted),
        Err(error) => {
            tracing::debug!(%error, "how much is free on the disk is not known");
            wanted
        }
    }
}

fn fitting(free: u64, copies: usize, wanted: u64) -> u64 {
    let each = free / SHARE / u64::try_from(copies.max(1)).unwrap_or(u64::MAX);
    wanted.min(each.max(LEAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_takes_what_is_wanted_or_its_part_of_what_is_free() {
        const GIB: u64 = 1 << 30;
        assert_eq!(fitting(200 * GIB, 1, 10 * GIB), 10 * GIB);
        assert_eq!(fitting(12 * GIB, 1, 10 * GIB), 3 * GIB);
        assert_eq!(fitting(12 * GIB, 3, 10 * GIB), GIB);
        assert_eq!(fitting(0, 1, 10 * GIB), LEAST);
        assert_eq!(fitting(0, 0, 1), 1);
    }
}
