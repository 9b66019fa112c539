//! What all tenants of a core share: time, leases, what is under way, what comes out.

use std::collections::{BTreeMap, VecDeque};

use bus_schema::{TenantId, Timestamp};

use super::{
    effect::Effect,
    input::WriteId,
    lease::Leases,
    plan::{After, Job},
    queue::AgentKey,
    settings::{IN_FLIGHT_MAX, Settings},
    slot::{QueueId, Target},
};

/// A write until its result is known.
#[derive(Debug)]
pub struct Flight {
    pub tenant: TenantId,
    pub targets: Vec<Target>,
    pub job: Option<Job>,
    pub after: After,
    pub serves: Option<QueueId>,
}

/// What happened, for metrics. Only grows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    pub writes: u64,
    pub mismatches: u64,
    pub refusals: u64,
    /// Writes given up that may still be stored.
    pub doubts: u64,
    pub reassigned: u64,
    /// States that could not be read.
    pub unreadable: u64,
    /// What a sweep had to put right. Should stay 0.
    pub mended: u64,
    pub commands_refused: u64,
    /// Starts of tenants with too many open threads.
    pub over_budget: u64,
}

#[derive(Debug)]
pub struct Shared {
    pub settings: Settings,
    pub now: Timestamp,
    pub active: bool,
    pub leases: Leases,
    pub effects: VecDeque<Effect>,
    pub flights: BTreeMap<WriteId, Flight>,
    /// Reads from the leader that are under way.
    pub reading: usize,
    pub next_write: u64,
    pub counters: Counters,
    /// Kept between calls, so that indexing does not allocate.
    pub scratch: Vec<(QueueId, AgentKey)>,
}

impl Shared {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            now: Timestamp::default(),
            active: false,
            leases: Leases::new(settings.agent_grace),
            effects: VecDeque::new(),
            flights: BTreeMap::new(),
            reading: 0,
            next_write: 1,
            counters: Counters::default(),
            scratch: Vec::new(),
        }
    }

    pub fn has_room(&self) -> bool {
        self.flights.len() + self.reading < IN_FLIGHT_MAX
    }
}
