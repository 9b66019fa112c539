//! What a routing core is told once, and the bounds of everything it holds.

use std::time::Duration;

use bus_schema::{Epoch, IncarnationId, Shard};

/// Fixed for the life of a core.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub shard: Shard,
    pub epoch: Epoch,
    /// This run of this router: part of the ids of its writes, so that it recognises them.
    pub incarnation: IncarnationId,
    /// How long an agent, or an edge, may be away before others take over.
    pub agent_grace: Duration,
    /// Threads of one tenant that are open before no more start; none: no bound.
    pub open_max: Option<usize>,
}

/// Writes, and reads after mismatches, that are under way at once. The server takes 50 batches of a stream.
pub const IN_FLIGHT_MAX: usize = 32;
/// Decisions made in one call; the rest follows in the next.
pub const STEPS_PER_CALL: usize = 512;
/// Commands of one tenant that wait to be decided or for a write.
pub const COMMANDS_PER_TENANT_MAX: usize = 4096;
/// Records of the configuration that are read again for one command.
pub const UNSEEN_MAX: usize = 16;
/// Conversations that change hands in one batch.
pub const CONVERSATIONS_PER_BATCH: usize = 8;
/// So often a batch is tried before it is halved.
pub const TRIES_BEFORE_HALVING: u32 = 5;
/// Agents whose presence changes in one batch.
pub const AGENTS_PER_BATCH: usize = 16;
/// Reports of one presence command or digest.
pub const REPORTS_MAX: usize = 1024;
/// A new number of connections alone is written at most this much later.
pub const CONNECTIONS_WRITTEN_WITHIN: Duration = Duration::from_secs(30);
/// A command is decided again after a write in doubt, until it had so many of them.
pub const DOUBTS_PER_COMMAND_MAX: u8 = 3;
/// After a refusal that reading again cannot mend, the subject is left alone for this long.
pub const PAUSE: Duration = Duration::from_millis(250);
/// After more refusals in a row than these a thread that waits lets others go before it while it is left alone.
pub const REFUSALS_KEEPING_PLACE: u8 = 4;
/// From then on its pauses double, so many times.
pub const PAUSE_DOUBLINGS_MAX: u8 = 8;
/// Mismatches in a row without any news on the subject before it is paused.
pub const STALE_MISMATCHES_MAX: u8 = 3;
/// How often all states are compared with each other.
pub const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// Who heard nothing for this long, not even that time passes, was paused.
pub const PAUSED_AFTER: Duration = Duration::from_secs(2);
/// Leases of edges that nothing names any more are forgotten after this time.
pub const LEASE_FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);
/// When to try a start again where too many threads of the tenant are open: some end meanwhile.
pub const START_AFTER: Duration = Duration::from_secs(30);
/// Who passed a thread on to a queue is passed over by rules for this long.
pub const AVOIDED_FOR: Duration = Duration::from_secs(60);
/// The bus's time and a router's differ by less, or the router says that it is not ready.
pub const CLOCKS_DIFFER: Duration = Duration::from_secs(2);
/// Threads of a queue that are looked at for one that somebody free may take.
pub const LOOKED_AT_MAX: usize = 1024;
/// Agents who take part in one thread.
pub const PARTICIPANTS_MAX: usize = 50;
