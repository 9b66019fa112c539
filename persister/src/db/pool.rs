//! A bounded pool of connections.
//!
//! Invariant: at most as many connections as told, and nobody waits for one longer than [`WAIT_MAX`].

use std::time::Duration;

use diesel_async::{
    AsyncPgConnection,
    pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod, deadpool},
};
use futures::FutureExt as _;
use ops::settings::{Settings, names};

use super::{DbError, Options, connect};

/// For a free connection, or for a new one to be made.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// A connection on loan from the pool.
pub type Connection = deadpool::Object<AsyncPgConnection>;

/// Cheap to clone.
#[derive(Clone)]
pub struct Pool(deadpool::Pool<AsyncPgConnection>);

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({:?})", self.0.status())
    }
}

impl Pool {
    /// A pool for at most `connections_max` connections; opens none yet.
    pub fn open(url: &str, options: &Options, connections_max: usize) -> Result<Self, DbError> {
        let config = connect::config(url, options)?;
        let mut manager = ManagerConfig::default();
        // A round trip less for each loan; a connection that broke knows it.
        manager.recycling_method = RecyclingMethod::Fast;
        manager.custom_setup = Box::new(move |_url| connect::establish(config.clone()).boxed());
        let manager = AsyncDieselConnectionManager::new_with_config("", manager);
        let pool = deadpool::Pool::builder(manager).max_size(connections_max).build();
        pool.map(Self).map_err(|error| DbError::Unavailable(error.to_string()))
    }

    /// The pool a service's settings ask for.
    pub fn with_options(settings: &Settings, options: &Options) -> Result<Self, DbError> {
        let max = usize::try_from(settings.int(names::DATABASE_POOL_MAX)).unwrap_or(usize::MAX);
        Self::open(settings.secret(names::DATABASE_URL), options, max)
    }

    /// A connection, waiting for one within bounds.
    pub async fn get(&self) -> Result<Connection, DbError> {
        let got = tokio::time::timeout(WAIT_MAX, self.0.get()).await;
        Ok(got.map_err(|_| DbError::Busy)??)
    }

    /// Connections lent out and kept, for metrics.
    pub fn size(&self) -> usize {
        self.0.status().size
    }
}
