//! Catching up after a storm of reconnects: how many clients at once, and how much on its way to them.
//!
//! Invariant: logins that read the log, and replayed bytes that are read but not yet written, are bounded; who waits
//! for a turn waits for a bounded time, and is then told when to come back.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::admission::Overloaded;

/// A login that has not begun by then is sent away.
const TURN_WAIT: Duration = Duration::from_secs(4);
/// Replayed bytes on their way to all clients, in units.
const ROOM_UNITS: usize = 64 * 1024;
const UNIT_BYTES: usize = 1024;
/// A replay that has no room by then is a reset: slow readers hold others up no longer than this.
const ROOM_WAIT: Duration = Duration::from_secs(2);

/// The bounds of one edge.
#[derive(Debug)]
pub struct CatchUps {
    turns: Arc<Semaphore>,
    room: Arc<Semaphore>,
}

/// The right to read what a login needs; given back when dropped.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// Room for replayed bytes; given back when dropped.
#[derive(Debug)]
pub struct Room {
    permit: OwnedSemaphorePermit,
}

impl CatchUps {
    /// `logins` that read the log at once, each a few conversations at a time; none: no bound.
    pub fn new(logins: Option<u64>) -> Self {
        let turns = logins.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        Self::with(turns.min(Semaphore::MAX_PERMITS), ROOM_UNITS)
    }

    fn with(turns: usize, room_units: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(turns)), room: Arc::new(Semaphore::new(room_units)) }
    }

    /// Waits for a turn: first come, first served.
    pub async fn turn(&self) -> Result<Turn, Overloaded> {
        match timeout(TURN_WAIT, self.turns.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Turn { _permit: permit }),
            Ok(Err(_)) | Err(_) => Err(Overloaded::soon()),
        }
    }

    /// Waits for room; none: there was none in time.
    pub async fn room(&self, bytes: usize) -> Option<Room> {
        let wanted = self.room.clone().acquire_many_owned(units(bytes));
        let permit = timeout(ROOM_WAIT, wanted).await.ok()?.ok()?;
        Some(Room { permit })
    }
}

impl Room {
    /// So much is used; the rest is for others.
    pub fn shrink(&mut self, bytes: usize) {
        let unused = self.permit.num_permits().saturating_sub(units(bytes) as usize);
        drop(self.permit.split(unused));
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_turn_comes_in_time_or_says_when_to_come_back() {
        let all = CatchUps::with(1, 0);
        let first = all.turn().await.unwrap();
        let late = all.turn().await.unwrap_err();
        assert!(late.after >= Duration::from_secs(1));
        drop(first);
        assert!(all.turn().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_bounded_and_what_is_not_used_is_for_others() {
        let all = CatchUps::with(0, 10);
        let mut first = all.room(10 * UNIT_BYTES).await.unwrap();
        assert!(all.room(1).await.is_none());
        first.shrink(3 * UNIT_BYTES + 1);
        let second = all.room(6 * UNIT_BYTES).await.unwrap();
        assert!(all.room(1).await.is_none());
        drop((first, second));
        assert!(all.room(10 * UNIT_BYTES).await.is_some());
    }
}
