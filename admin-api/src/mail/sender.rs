//! Sends what is queued, by any instance, until it is sent or not worth sending any more.
//!
//! Invariant: the token of a link is made just before its mail is sent, and is stored only as its hash. A mail may be
//! sent twice when an instance dies in between; then the newer link counts.

use std::time::Duration;

use bus_schema::{AccountId, AgentId, TenantId};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use ops::service::Context;
use persister::db::{
    Id,
    schema::config::{agents, tenants},
};
use tokio::time::timeout;

use super::{
    letter::{self, Letter},
    queue::{self, Due, Kind},
    transport::{SendError, Transport},
};
use crate::{
    app::App,
    auth::{account_by_email, mailed},
    clock,
    http::Problem,
    metrics,
};

/// How often the queue is looked at without being woken.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A mail is tried again after this, doubling.
const RETRY_FIRST: Duration = Duration::from_secs(30);
const RETRY_LAST: Duration = Duration::from_secs(15 * 60);

/// Sends until shutdown.
pub async fn sender(context: Context, app: App, transport: Transport, console: String) -> anyhow::Result<()> {
    let work = async {
        loop {
            match send_next(&app, &transport, &console).await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(problem) => tracing::warn!(%problem, "mails cannot be sent now"),
            }
            // Being woken and the time being up mean the same: look again.
            let _ = timeout(LOOK_EVERY, app.mail_wake.notified()).await;
        }
    };
    context.shutdown.run_until_cancelled(work).await;
    Ok(())
}

fn again(attempts: i32) -> Duration {
    RETRY_FIRST.saturating_mul(1 << attempts.clamp(0, 16)).min(RETRY_LAST)
}

/// Whether there was one to send.
async fn send_next(app: &App, transport: &Transport, console: &str) -> Result<bool, Problem> {
    let mut connection = app.pool.get().await?;
    let Some(due) = queue::claim(&mut connection, again).await? else { return Ok(false) };
    let written = match Kind::parse(&due.kind) {
        Some(kind) => write(&mut connection, kind, &due, console).await?.map(|written| (kind, written)),
        None => None,
    };
    let Some((kind, (recipient, letter))) = written else {
        // Nobody has this address, or the invitation is no more.
        queue::done(&mut connection, due.id).await?;
        return Ok(true);
    };
    // Not while a mail server thinks about it.
    drop(connection);
    let outcome = transport.send(&recipient, letter).await;
    let finished = match outcome {
        Ok(()) => {
            metrics::mailed(kind.word(), "sent");
            true
        }
        Err(error @ SendError::Address(_)) => {
            tracing::warn!(%error, mail = %due.id, "a mail will never be sent");
            metrics::mailed(kind.word(), "refused");
            true
        }
        Err(error) => {
            tracing::warn!(%error, mail = %due.id, attempts = due.attempts, "a mail was not sent; later");
            metrics::mailed(kind.word(), "failed");
            false
        }
    };
    if finished {
        queue::done(&mut *app.pool.get().await?, due.id).await?;
    }
    Ok(true)
}

/// The letter, and to whom: what lets somebody into an account goes to the address that the account has, not to what
/// somebody typed.
async fn write(
    connection: &mut AsyncPgConnection,
    kind: Kind,
    due: &Due,
    console: &str,
) -> Result<Option<(String, Letter)>, Problem> {
    let now = clock::now();
    Ok(match kind {
        Kind::Reset => {
            let Some(account) = account_by_email(connection, &due.recipient).await? else { return Ok(None) };
            let token = mailed::issue(connection, account.id.0, mailed::Purpose::Reset, now).await?;
            Some((account.email, letter::reset(console, &token)))
        }
        Kind::Invitation => {
            let (Some(tenant), Some(agent)) = (due.tenant_id, due.agent_id) else { return Ok(None) };
            let Some((account, name)) = invited(connection, tenant, agent).await? else { return Ok(None) };
            let purpose = mailed::Purpose::Invitation(tenant.0, agent.0);
            let token = mailed::issue(connection, account.0, purpose, now).await?;
            Some((due.recipient.clone(), letter::invitation(console, &token, &name)))
        }
        Kind::PasswordChanged => Some((due.recipient.clone(), letter::password_changed(console))),
    })
}

/// Whose invitation still waits, and the name of the tenant.
async fn invited(
    connection: &mut AsyncPgConnection,
    tenant: Id<TenantId>,
    agent: Id<AgentId>,
) -> Result<Option<(Id<AccountId>, String)>, Problem> {
    let found = agents::table
        .inner_join(tenants::table.on(tenants::tenant_id.eq(agents::tenant_id)))
        .filter(agents::tenant_id.eq(tenant).and(agents::id.eq(agent)))
        .filter(agents::deleted_at.is_null().and(agents::invited_at.is_not_null()))
        .filter(tenants::deleted_at.is_null())
        .select((agents::account_id, tenants::name))
        .first(connection)
        .await;
    Ok(found.optional()?)
}
