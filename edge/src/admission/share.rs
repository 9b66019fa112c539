//! How many edges there are: each enforces its part of a tenant's budget.
//!
//! Invariant: at least one is counted, this one; while the leases cannot be read the last count stays.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bus_schema::stream;
use ops::kv::{Kv, KvError};
use tokio::time::sleep;

use crate::app::App;

const RETRY: Duration = Duration::from_secs(1);
/// A lease that ended may leave no trace: the keys are listed again this often.
const LIST_EVERY: Duration = Duration::from_secs(10);
const EDGES: &str = "edge.";

#[derive(Debug, Clone)]
pub struct Share(Arc<AtomicU32>);

impl Default for Share {
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(1)))
    }
}

impl Share {
    /// Among how many a budget is divided.
    pub fn edges(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, edges: usize) {
        self.0.store(u32::try_from(edges.max(1)).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

/// Counts the leases of edges.
pub async fn follow(app: Arc<App>) {
    loop {
        match list(&app).await {
            Ok(edges) => {
                app.admission.tenants.share.set(edges.len());
                sleep(LIST_EVERY.mul_f64(rand::random_range(0.8..1.2))).await;
            }
            Err(error) => {
                tracing::debug!(%error, "the edges cannot be counted now");
                sleep(RETRY).await;
            }
        }
    }
}

async fn list(app: &App) -> Result<BTreeSet<String>, KvError> {
    let leases = Kv::open(&app.core.bus, stream::LEASES).await?;
    let keys = leases.keys().await?;
    Ok(keys.into_iter().filter(|key| key.starts_with(EDGES)).collect())
}
