//! Whether those who were let in may still be here: sessions that were ended, agents and widgets that were removed,
//! visitors that were banned or erased.
//!
//! Invariant: each source is followed from before anybody is let in, and read again whenever something of it may have
//! been missed; while the ended sessions cannot be vouched for, staff are sent away. Visitors stay then: all that a
//! ban forbids them needs the bus, which is what is missing.

mod revoked;
mod visitors;

use std::{sync::Arc, time::Duration};

use bus_schema::{ErrorBody, ErrorCode, close::CloseCode};
use ops::{chat, service::Context, settings::names};

pub use revoked::{Following, Revoked};
pub use visitors::barred_by;

use crate::{
    app::App,
    clock,
    connections::Owner,
    session::{Denied, Who},
};

/// Starts following everything that can end somebody's stay.
pub fn start(ctx: &Context, app: &Arc<App>, sessions: Following) {
    let longest = ctx.settings.millis(names::UNVERIFIED_MS);
    let task = |name, following: futures::future::BoxFuture<'static, ()>| {
        let shutdown = ctx.shutdown.clone();
        ctx.spawn(name, async move {
            shutdown.run_until_cancelled(following).await;
            Ok(())
        });
    };
    task("follow the ended sessions", Box::pin(revoked::follow(app.clone(), sessions, longest)));
    task("send staff away while nobody vouches for them", Box::pin(fail_closed(app.clone(), longest)));
    task("follow who was removed", Box::pin(removed(app.clone())));
    for shard in app.core.shards.keys() {
        task("follow the visitors' records", Box::pin(visitors::follow(app.clone(), *shard)));
    }
}

/// What is known here without asking the bus.
pub fn barred(app: &App, who: Who) -> Option<CloseCode> {
    let index = app.core.directory.now();
    match who {
        Who::Staff { tenant, agent, session, .. } => {
            let removed = index.tenant(tenant).is_none() || index.is_deleted_agent(tenant, agent);
            (removed || app.revoked.has(session)).then_some(CloseCode::Revoked)
        }
        Who::Visitor { tenant, widget, .. } => {
            index.widget(tenant, widget).is_none().then_some(CloseCode::Revoked)
        }
    }
}

/// A visitor's record as the log's leader has it, unless it bars the visitor.
pub async fn visitor_record(app: &App, owner: Owner) -> Result<Option<chat::Record>, Denied> {
    let Who::Visitor { tenant, visitor, .. } = owner.who else { return Ok(None) };
    let log = app.core.log_of(tenant);
    let log = log.ok_or_else(|| Denied::of(ErrorCode::Unavailable.into(), CloseCode::Unverified))?;
    let found = chat::record(&log, tenant, visitor).await;
    let found = found.map_err(|error| Denied::of(error, CloseCode::Unverified))?;
    match visitors::barred_by(&found.record, owner.issued, clock::now()) {
        None => Ok(Some(found)),
        Some(CloseCode::Banned) => Err(Denied::of(ErrorCode::Banned.into(), CloseCode::Banned)),
        Some(code) => {
            let message = "the visitor was erased after this token was made";
            Err(Denied::of(ErrorBody::new(ErrorCode::Unauthenticated, message), code))
        }
    }
}

/// Sends staff away while the ended sessions have not been verified for too long.
async fn fail_closed(app: Arc<App>, longest: Duration) {
    const LOOK_EVERY: Duration = Duration::from_millis(250);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let verified = app.revoked.verified_within(longest);
        if app.revoked.set_vouched(verified) && !verified {
            tracing::warn!("ended sessions could not be read for {longest:?}: staff are sent away");
        }
        if !verified {
            let staff = |owner: &Owner| matches!(owner.who, Who::Staff { .. });
            app.connections.close_where(|owner| staff(owner).then_some(CloseCode::Unverified));
        }
    }
}

/// Closes the sockets of agents, widgets and tenants that are removed.
async fn removed(app: Arc<App>) {
    let mut changes = app.core.directory.changes();
    loop {
        app.connections.close_where(|owner| barred(&app, owner.who));
        if changes.changed().await.is_err() {
            return;
        }
    }
}
