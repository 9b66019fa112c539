//! Catching up after a storm of reconnects: how many clients at once, and how much on its way to them.
//!
//! Invariant: logins that read the log, and replayed bytes that are read but not yet written, are bounded; who waits
//! for a turn waits for a bounded time, and is then told when to come back.

use std::{sync::Arc, time::Duration};

use bus_schema::Audience;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::admission::Overloaded;

/// A visitor has one conversation, of which an answer shows at most 256 KiB.
const VISITOR_WEIGHT: u32 = 1;
/// An agent may have a hundred of them, read eight at a time: 25 MiB, so that of those as few as ever are at work at
/// once. It is no more than 4 because an agent who waits for so many turns holds up the visitors who came later.
const STAFF_WEIGHT: u32 = 4;
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
    /// All turns there are.
    most: u32,
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
    /// So many visitors' `logins` that read the log at once, or a quarter as many of staff, each a few conversations at
    /// a time; none: no bound.
    pub fn new(logins: Option<u64>) -> Self {
        Self::with(logins.map_or(u32::MAX, |most| u32::try_from(most).unwrap_or(u32::MAX)), ROOM_UNITS)
    }

    fn with(most: u32, room_units: usize) -> Self {
        let turns = usize::try_from(most).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { turns: Arc::new(Semaphore::new(turns)), most, room: Arc::new(Semaphore::new(room_units)) }
    }

    /// Waits for a turn of somebody who reads as this audience: first come, first served, so visitors behind an agent
    /// wait until there is room for the agent, and no stream of visitors passes an agent by. Where the bound is lower
    /// than what an agent takes, an agent takes all of it.
    pub async fn turn(&self, audience: Audience) -> Result<Turn, Overloaded> {
        let weight = match audience {
            Audience::All => VISITOR_WEIGHT,
            Audience::Staff => STAFF_WEIGHT,
        };
        let turns = self.turns.clone().acquire_many_owned(weight.min(self.most));
        match timeout(TURN_WAIT, turns).await {
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
    use std::{pin::pin, task::Poll};

    use futures::poll;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_turn_comes_in_time_or_says_when_to_come_back() {
        let all = CatchUps::with(1, 0);
        let first = all.turn(Audience::All).await.unwrap();
        let late = all.turn(Audience::All).await.unwrap_err();
        assert!(late.after >= Duration::from_secs(1));
        drop(first);
        assert!(all.turn(Audience::All).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_takes_as_much_as_four_visitors() {
        let all = CatchUps::with(2 * STAFF_WEIGHT, 0);
        let agent = all.turn(Audience::Staff).await.unwrap();
        let mut visitors = Vec::new();
        for _ in 0..STAFF_WEIGHT {
            visitors.push(all.turn(Audience::All).await.unwrap());
        }
        assert!(all.turn(Audience::All).await.is_err());
        visitors.pop();
        assert!(all.turn(Audience::Staff).await.is_err(), "one visitor less is not room enough");
        drop(agent);
        assert!(all.turn(Audience::Staff).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn visitors_do_not_pass_an_agent_by() {
        let all = CatchUps::with(STAFF_WEIGHT, 0);
        let first = all.turn(Audience::All).await.unwrap();
        let mut agent = pin!(all.turn(Audience::Staff));
        assert!(poll!(agent.as_mut()).is_pending());
        let mut visitor = pin!(all.turn(Audience::All));
        assert!(
            poll!(visitor.as_mut()).is_pending(),
            "there is room, which an agent who came before waits for"
        );
        drop(first);
        assert!(poll!(visitor.as_mut()).is_pending());
        let Poll::Ready(Ok(turn)) = poll!(agent) else { panic!("the first is done") };
        assert!(poll!(visitor.as_mut()).is_pending());
        drop(turn);
        assert!(matches!(poll!(visitor), Poll::Ready(Ok(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_gets_a_turn_where_the_bound_is_lower_than_that() {
        for most in 1..STAFF_WEIGHT {
            let all = CatchUps::with(most, 0);
            let agent = all.turn(Audience::Staff).await.unwrap();
            assert!(all.turn(Audience::All).await.is_err());
            drop(agent);
            assert!(all.turn(Audience::All).await.is_ok());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_bound_nobody_waits() {
        let all = CatchUps::new(None);
        let mut turns = Vec::new();
        for _ in 0..10_000 {
            turns.push(all.turn(Audience::Staff).await.unwrap());
        }
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
