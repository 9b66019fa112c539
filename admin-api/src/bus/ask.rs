//! Asking the router for what a caller wants.
//!
//! Invariant: what a caller was told of is there for their commands. Configuration reaches the bus a moment after it is
//! committed, so a command that names what the router does not know is asked again once the tenant's changes are there.

use std::time::Duration;

use bus_schema::{
    ErrorCode, TenantId,
    command::{Answer, Command},
};
use diesel::{dsl::exists, prelude::*, select};
use diesel_async::RunQueryDsl;
use persister::db::{Id, schema::config::outbox};
use tokio::time::{Instant, sleep};

use crate::{access::Caller, app::App, http::Problem};

/// How long a command waits for the tenant's changes; those that the bus refuses are tried for longer.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl App {
    /// Asks the caller's router.
    pub async fn command(&self, caller: &Caller, command: Command) -> Result<Answer, Problem> {
        match self.bus.command(caller, command.clone()).await {
            Err(refused) if refused.body.code == ErrorCode::NotFound => {
                self.published(caller.tenant).await?;
                self.bus.command(caller, command).await
            }
            answer => answer,
        }
    }

    /// Waits until no change of the tenant is on its way to the bus, but not for ever.
    async fn published(&self, tenant: TenantId) -> Result<(), Problem> {
        let until = Instant::now() + PUBLISHED_WITHIN;
        let on_its_way = outbox::table.filter(outbox::tenant_id.eq(Id(tenant)));
        while select(exists(on_its_way)).get_result(&mut self.within(tenant).await?).await?
            && Instant::now() < until
        {
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}
