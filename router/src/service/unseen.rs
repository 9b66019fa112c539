//! Reads again what a command depends on and the core has not seen: it may have been made a moment ago.
//!
//! Invariant: a command waits for this once or twice and for a bounded time, whatever the bus does.

use std::time::Duration;

use bus_schema::{TenantId, config::Record};
use ops::{kv::Kv, log::Log};
use tokio::time::timeout;

use super::feed;
use crate::routing::{Input, Unseen};

/// Whoever starts waits for a router no longer than twice this.
const READ_WITHIN: Duration = Duration::from_millis(bus_schema::limits::ADMIT_WAIT_MS / 2);
/// A widget names a group, which may be new as well.
pub const TIMES_MAX: u8 = 2;

/// Where configuration and states are read.
#[derive(Debug, Clone)]
pub struct Sources {
    pub config: Kv,
    pub log: Log,
}

impl Sources {
    /// What there is of it, for the core; nothing of what cannot be read in time.
    pub async fn read(self, tenant: TenantId, wanted: Vec<Unseen>) -> Vec<Input> {
        let all = wanted.into_iter().map(|unseen| self.one(tenant, unseen));
        let found = timeout(READ_WITHIN, futures::future::join_all(all)).await;
        found.unwrap_or_default().into_iter().flatten().collect()
    }

    async fn one(&self, tenant: TenantId, unseen: Unseen) -> Option<Input> {
        match unseen {
            Unseen::Record(id) => {
                let key = id.key(tenant);
                let entry = self.config.get(&key).await.inspect_err(unreadable).ok()??;
                Record::decode(&key, &entry.value).map(Input::Config).ok()
            }
            Unseen::State(subject) => {
                let last = self.log.last(&subject.to_string()).await.inspect_err(unreadable).ok()??;
                feed::read(&last).map(Input::Log)
            }
        }
    }
}

fn unreadable(error: &impl std::fmt::Display) {
    tracing::debug!(%error, "what a command depends on cannot be read again");
}
