//! A transaction that sees one tenant: the second wall, in Postgres.
//!
//! Invariant: no connection goes back to the pool inside a transaction, so a tenant named in one is forgotten with it.

use std::ops::{Deref, DerefMut};

use bus_schema::TenantId;
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};
use persister::db::{Connection, Pool, roles};
use tokio::runtime::Handle;

use crate::http::Problem;

/// Rolled back when it is dropped, behind the caller's back: readers need not wait for it.
pub struct Within(Option<Connection>);

impl Within {
    /// For reading.
    pub async fn read(pool: &Pool, tenant: TenantId) -> Result<Self, Problem> {
        Self::begin(pool, roles::begin_within(tenant, true)).await
    }

    /// For changing something; what is not committed has not happened.
    pub async fn write(pool: &Pool, tenant: TenantId) -> Result<Self, Problem> {
        Self::begin(pool, roles::begin_within(tenant, false)).await
    }

    /// For changing what is a person's in all tenants, or of none: it sees everything.
    pub async fn all(pool: &Pool) -> Result<Self, Problem> {
        Self::begin(pool, "BEGIN".to_owned()).await
    }

    async fn begin(pool: &Pool, statements: String) -> Result<Self, Problem> {
        let mut begun = Self(Some(pool.get().await?));
        AnsiTransactionManager::begin_transaction_sql(&mut *begun, &statements).await?;
        Ok(begun)
    }

    /// Commits what went well and takes back what did not.
    pub async fn finish<T>(self, outcome: Result<T, Problem>) -> Result<T, Problem> {
        let done = outcome?;
        self.commit().await?;
        Ok(done)
    }

    pub async fn commit(mut self) -> Result<(), Problem> {
        AnsiTransactionManager::commit_transaction(&mut *self).await?;
        // Back to the pool.
        drop(self.0.take());
        Ok(())
    }
}

impl Deref for Within {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        self.0.as_ref().expect("taken only at the end")
    }
}

impl DerefMut for Within {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        self.0.as_mut().expect("taken only at the end")
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        let Some(mut connection) = self.0.take() else { return };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                // One that cannot even roll back is closed.
                if AnsiTransactionManager::rollback_transaction(&mut *connection).await.is_err() {
                    drop(Connection::take(connection));
                }
            })),
            Err(_) => drop(Connection::take(connection)),
        }
    }
}
