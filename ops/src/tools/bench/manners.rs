//! What people do beside talking: they are seen typing, and what they answer they have read.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bus_schema::protocol::{Action, Mark, Typing};
use serde::{Serialize, de::IgnoredAny};
use tokio::{runtime::Handle, sync::Semaphore};

use super::{cast::Cast, schedule::Due};

/// Requests that wait for their answers; what would be more is left out, and counted.
const UNDER_WAY_MAX: usize = 4_096;

/// Has a typing and a read mark go before each message.
#[derive(Debug, Clone)]
pub struct Manners {
    runtime: Handle,
    room: Arc<Semaphore>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    answered: AtomicU64,
    refused: AtomicU64,
    left_out: AtomicU64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MannersTally {
    pub answered: u64,
    pub refused: u64,
    /// The driver had too many under way.
    pub left_out: u64,
}

impl Manners {
    /// Runs on the runtime of the caller.
    pub fn new() -> Self {
        let room = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        Self { runtime: Handle::current(), room, counts: Arc::default() }
    }

    /// Whoever is about to write is typing, and has read what came. Does not wait.
    pub fn before(&self, cast: &Arc<Cast>, due: Due) {
        let Ok(room) = self.room.clone().try_acquire_many_owned(2) else {
            self.counts.left_out.fetch_add(2, Ordering::Relaxed);
            return;
        };
        let (cast, counts) = (cast.clone(), self.counts.clone());
        self.runtime.spawn(async move {
            // Dropped in the other order: when there is all the room again, nobody holds the cast.
            let _room = room;
            let cast = cast;
            let (client, conversation_id) = cast.writer(due);
            let typing = Typing { conversation_id, on: true };
            let up_to_seq = client.view(conversation_id).map_or(0, |view| view.last_seq);
            let mark = Mark { conversation_id, up_to_seq };
            let (typing, mark) = tokio::join!(
                client.request::<IgnoredAny>(Action::Typing, &typing),
                client.request::<IgnoredAny>(Action::MarkRead, &mark),
            );
            for ended in [typing, mark] {
                let count = if ended.is_ok() { &counts.answered } else { &counts.refused };
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    /// Waits until all are answered, which clients bound, and gives what became of those since the last time.
    pub async fn take(&self) -> MannersTally {
        let all = u32::try_from(UNDER_WAY_MAX).expect("a bound of a few thousand");
        let _all = self.room.acquire_many(all).await.expect("it is never closed");
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        let Counts { answered, refused, left_out } = &*self.counts;
        MannersTally { answered: take(answered), refused: take(refused), left_out: take(left_out) }
    }
}
