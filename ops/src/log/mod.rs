//! JetStream access to the log of one shard: the only way anybody touches a `CHAT` stream.
//!
//! Invariant: what a write answers is what is known. Stored means stored, refused means not stored, and
//! everything else is `WriteError::Unknown`, to be resolved by reading from the leader.

mod ack;
mod batch;
mod gather;
mod horizon;
mod leader;
mod live;
mod paced;
mod purge;
mod read;
mod silence;
mod stored;
mod tail;
mod write;

pub(crate) use ack::parse as parse_ack;
pub use horizon::raise_horizon;
pub use leader::StreamEnd;
pub(crate) use leader::stream_end;
pub use live::{LiveCopy, LiveMsg, into_live, live};
pub use read::{Piece, ReadError};
pub(crate) use silence::Silence;
pub use stored::StoredMsg;
pub use tail::{DeliverFrom, Tail, TailError};
pub use write::{Expect, Stored, Write, WriteError};

use std::{sync::Arc, time::Duration};

use bus_schema::{Shard, stream};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{nats::Bus, wire::Wire};
use batch::Batches;
use gather::Gather;
use horizon::Horizon;
use write::Measures;

/// Writes without an answer that this process may have at once; more wait their turn.
pub const IN_FLIGHT_MAX: usize = 2_048;
/// After this long without an answer the outcome of a write is unknown.
pub const ACK_WAIT: Duration = Duration::from_secs(5);
/// After this long without an answer a read is tried again or fails.
pub const READ_WAIT: Duration = Duration::from_secs(2);
/// Messages of one batched read; the server answers at most 1,024 subjects to one question.
pub const READ_MAX: usize = 1_024;
/// Bytes of one batched read; what is beyond is another question.
pub const READ_BYTES_MAX: usize = 256 * 1024;
/// Batched reads on their way at once; more wait their turn. With the bytes of each, what a question waits for on the
/// connection stays well within `READ_WAIT`, however many ask: else everybody would give up, and ask for it all again.
pub const READS_MAX: usize = 16;
/// Sends at once that are looked up among all that was said in their thread, or before it; who has no turn within
/// [`LOOKUP_WAIT`] is refused. The server walks over everything stored in that time, and has writes to serve meanwhile.
pub const LOOKUPS_MAX: usize = 4;
/// How long a look-up may wait for its turn.
pub const LOOKUP_WAIT: Duration = Duration::from_secs(1);

/// Sequences at the end of a conversation that are searched for its messages; what is older is asked of the read model,
/// and searched for where it does not answer. The server looks at all that anybody wrote between two messages of a lane,
/// 0.1 to 0.4 µs each (ADR 0025), so this is 1 to 4 ms of its time, and covers what was said within the last seconds of
/// the busiest shard and within hours of a quiet one.
pub const SEARCH_MAX: u64 = 10_000;

/// The log of one shard; cheap to clone.
#[derive(Debug, Clone)]
pub struct Log {
    shared: Arc<Shared>,
    /// Writes of one message and reads of the leader go this way, if there is one.
    wire: Option<Wire>,
    search_max: u64,
}

#[derive(Debug)]
struct Shared {
    bus: Bus,
    shard: Shard,
    stream: String,
    /// Subjects of the server's interface, made once.
    direct_get: String,
    leader_get: String,
    in_flight: Semaphore,
    reads: Semaphore,
    lookups: Semaphore,
    gather: Gather,
    horizon: Horizon,
    historian: Silence,
    measures: Measures,
    batches: Batches,
}

impl Log {
    pub fn new(bus: Bus, shard: Shard) -> Self {
        crate::metrics::describe(write::METRICS);
        crate::metrics::describe(silence::METRICS);
        let stream = stream::log_name(shard);
        let shared = Shared {
            shard,
            direct_get: format!("$JS.API.DIRECT.GET.{stream}"),
            leader_get: format!("$JS.API.STREAM.MSG.GET.{stream}"),
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            reads: Semaphore::new(READS_MAX),
            lookups: Semaphore::new(LOOKUPS_MAX),
            gather: Gather::new(bus.client.clone()),
            horizon: Horizon::new(shard),
            historian: Silence::new(),
            measures: Measures::new(),
            batches: Batches::new(),
            stream,
            bus,
        };
        Self { shared: Arc::new(shared), wire: None, search_max: SEARCH_MAX }
    }

    /// The same log, with writes of one message and reads of the leader over `wire`: in order with its subscriptions.
    pub fn over(&self, wire: Wire) -> Self {
        Self { wire: Some(wire), ..self.clone() }
    }

    /// The same log, searched as far instead of [`SEARCH_MAX`].
    pub fn searching(&self, search_max: u64) -> Self {
        Self { search_max, ..self.clone() }
    }

    /// How far down it is searched before the read model is asked.
    pub fn search_max(&self) -> u64 {
        self.search_max
    }

    /// Whether the read model answers.
    pub(crate) fn historian(&self) -> &Silence {
        &self.shared.historian
    }

    pub fn shard(&self) -> Shard {
        self.shared.shard
    }

    pub fn bus(&self) -> &Bus {
        &self.shared.bus
    }

    /// The stream's name.
    pub fn stream(&self) -> &str {
        &self.shared.stream
    }

    /// The right to look a send up; none came in time.
    pub async fn lookup_turn(&self) -> Option<SemaphorePermit<'_>> {
        let turn = tokio::time::timeout(LOOKUP_WAIT, self.shared.lookups.acquire()).await.ok();
        let turn = turn.map(|turn| turn.expect("the semaphore is never closed"));
        self.shared.measures.looked(turn.is_some());
        turn
    }

    /// Writes that wait for their answer now, for readiness and shedding.
    pub fn in_flight(&self) -> usize {
        IN_FLIGHT_MAX - self.shared.in_flight.available_permits()
    }
}
