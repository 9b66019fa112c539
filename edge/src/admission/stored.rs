//! What may be stored now: by how full the log is, and by the tenant's budget.
//!
//! Invariant: what is refused here costs the bus nothing. Commands are not asked about: closing and assigning go on.

use std::{sync::Arc, time::Duration};

use bus_schema::{ErrorBody, ErrorCode, Shard, TenantId};
use ops::settings::{Settings, names};

use super::{Admission, bucket::Rate, limiter::Limiter, reserve::Fill, share::Share};
use crate::metrics::{Limit, Measures};

/// What an event costs beside what it says.
const ENVELOPE_BYTES: usize = 512;
/// When to try again while the log is full.
const FULL_AFTER: Duration = Duration::from_secs(5);

/// What somebody wants to have stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    Mark,
    /// Said, or a profile; with the size of what is said.
    Event {
        bytes: usize,
    },
    /// A new thread, with the size of what is said first.
    Start {
        bytes: usize,
    },
}

/// What each tenant may store in a second, over all edges.
#[derive(Debug)]
pub struct Tenants {
    events: Limiter<TenantId>,
    bytes: Limiter<TenantId>,
    starts: Limiter<TenantId>,
    pub(super) share: Share,
}

impl Tenants {
    pub fn new(settings: &Settings, share: Share, measures: &Arc<Measures>) -> Self {
        let limiter =
            |name, reason| Limiter::new(Rate::per_second(settings.limit(name)), reason, measures.clone());
        Self {
            events: limiter(names::LIMIT_EVENTS_PER_SECOND_PER_TENANT, Limit::TenantEvents),
            bytes: limiter(names::LIMIT_BYTES_PER_SECOND_PER_TENANT, Limit::TenantBytes),
            starts: limiter(names::LIMIT_STARTS_PER_SECOND_PER_TENANT, Limit::TenantStarts),
            share,
        }
    }

    fn take(&self, tenant: TenantId, what: Want) -> Result<(), ErrorBody> {
        let edges = self.share.edges();
        let bytes = match what {
            Want::Mark => return self.events.take_share(tenant, 1.0, edges),
            Want::Event { bytes } => bytes,
            Want::Start { bytes } => {
                self.starts.take_share(tenant, 1.0, edges)?;
                bytes
            }
        };
        self.events.take_share(tenant, 1.0, edges)?;
        self.bytes.take_share(tenant, (bytes + ENVELOPE_BYTES) as f64, edges)
    }
}

impl Admission {
    /// Whether this may be stored now; what is refused may be tried again.
    pub fn store(&self, shard: Shard, tenant: TenantId, what: Want) -> Result<(), ErrorBody> {
        let reason = match (self.reserve.fill(shard), what) {
            (Fill::NoEvents, _) => Some(Limit::ReserveEvents),
            (Fill::NoMarks, Want::Mark) => Some(Limit::ReserveMarks),
            (Fill::NoMarks, Want::Event { .. } | Want::Start { .. }) | (Fill::Room, _) => None,
        };
        if let Some(reason) = reason {
            self.measures.limited(reason);
            return Err(ErrorBody::new(ErrorCode::Unavailable, "the log is nearly full").after(FULL_AFTER));
        }
        self.tenants.take(tenant, what)
    }
}
