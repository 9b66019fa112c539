//! Invitations: `POST /v1/auth/invitation` accepts one, `POST /v1/agents/{id}/invitation` sends one again.
//!
//! Invariant: nobody gets into a tenant by knowing an account's password alone, nor by reading its mail alone once it
//! has a password: who made an account under somebody else's address is not let in as them.

use axum::extract::State;
use bus_schema::{AgentId, ErrorCode, TenantId, config::Record};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use http::StatusCode;
use persister::db::{
    At, Id,
    schema::config::{accounts, agents},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Hashed, mailed};
use crate::{
    access::Caller,
    app::App,
    audit_log::Audited,
    db::{AccountRow, AgentRow, By, Change},
    http::{Body, Check, Checks, PathId, Peer, Problem, RequestId},
    mail,
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptInvitation {
    /// Out of the mail.
    pub token: String,
    /// A new one; of who has an account already, that account's.
    pub password: String,
}

impl Check for AcceptInvitation {
    fn check(&self, checks: &mut Checks) {
        mailed::check(checks, &self.token);
        checks.password("/password", &self.password);
    }
}

pub async fn accept_invitation(
    State(app): State<App>,
    peer: Peer,
    request_id: RequestId,
    Body(body): Body<AcceptInvitation>,
) -> Result<StatusCode, Problem> {
    app.budgets.take_cheap(peer)?;
    let (mailed, account) = {
        let mut connection = app.pool.get().await?;
        let mailed = mailed::find(&mut connection, &body.token).await?;
        let account = accounts::table.find(mailed.account_id).select(AccountRow::as_select());
        let account: AccountRow = account.first(&mut connection).await?;
        (mailed, account)
    };
    let (tenant, agent) = mailed.invitation().ok_or_else(mailed::refused)?;
    let new = match account.password_hash.clone() {
        None => {
            app.budgets.take_hash()?;
            Some(app.passwords.hash(body.password).await?)
        }
        Some(stored) => {
            app.budgets.take(peer, &account.email)?;
            if !app.passwords.verify(body.password, Some(stored)).await? {
                return Err(Problem::value(
                    "/password",
                    "is not the password of the account with this address",
                ));
            }
            None
        }
    };
    let by = By { tenant, agent: Some(agent), request_id: request_id.as_str().to_owned() };
    let mut change = app.change(by).await?;
    let accepted = accept_in(&mut change, &mailed, agent, new).await;
    change.finish(accepted).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn accept_in(
    change: &mut Change,
    mailed: &mailed::Mailed,
    agent: AgentId,
    new: Option<Hashed>,
) -> Result<(), Problem> {
    mailed.take(change.connection()).await?;
    let now = At(change.now);
    let account = accounts::table.find(mailed.account_id);
    if let Some(Hashed(hash)) = new {
        let set = diesel::update(account.filter(accounts::password_hash.is_null()))
            .set((accounts::password_hash.eq(hash), accounts::updated_at.eq(now)))
            .execute(change.connection())
            .await?;
        if set == 0 {
            return Err(Problem::new(ErrorCode::Conflict, "the account got a password meanwhile"));
        }
    }
    diesel::update(account).set(accounts::email_verified_at.eq(now)).execute(change.connection()).await?;
    if join(change, agent).await? { Ok(()) } else { Err(mailed::refused()) }
}

/// The invited agent works in the tenant from now on; false: no invitation waits (any more).
pub async fn join(change: &mut Change, agent: AgentId) -> Result<bool, Problem> {
    let (tenant, now, revision) = (change.tenant(), At(change.now), change.revision);
    let row: Option<AgentRow> = diesel::update(agents::table.find((Id(tenant), Id(agent))))
        .filter(agents::deleted_at.is_null().and(agents::invited_at.is_not_null()))
        .set((agents::invited_at.eq(None::<At>), agents::updated_at.eq(now), agents::revision.eq(revision)))
        .returning(AgentRow::as_returning())
        .get_result(change.connection())
        .await
        .optional()?;
    let Some(row) = row else { return Ok(false) };
    change.publish(&Record::Agent(row.record()?)).await?;
    change.audit("invitation_accepted", Audited::Agent, agent.uuid(), &[]).await?;
    Ok(true)
}

/// Sends the mail once more; earlier ones count no longer.
pub async fn invite_again(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<AgentId>,
) -> Result<StatusCode, Problem> {
    let mut change = app.change(caller.by()).await?;
    let email = invite_in(&mut change, caller.tenant, id).await;
    let sent = match email {
        Ok(email) => app.budgets.take_invitation(&email),
        Err(problem) => Err(problem),
    };
    change.finish(sent).await?;
    app.mail_wake.notify_one();
    Ok(StatusCode::NO_CONTENT)
}

async fn invite_in(change: &mut Change, tenant: TenantId, id: AgentId) -> Result<String, Problem> {
    let (row, email): (AgentRow, String) = agents::table
        .inner_join(accounts::table.on(accounts::id.eq(agents::account_id)))
        .filter(agents::tenant_id.eq(Id(tenant)).and(agents::id.eq(Id(id))))
        .filter(agents::deleted_at.is_null())
        .select((AgentRow::as_select(), accounts::email))
        .first(change.connection())
        .await
        .optional()?
        .ok_or_else(Problem::not_found)?;
    if row.invited_at.is_none() {
        return Err(Problem::new(ErrorCode::Conflict, "works here already: nothing waits to be accepted"));
    }
    let now = change.now;
    mail::invite(change.connection(), (tenant, id), &email, now).await?;
    change.audit("invited", Audited::Agent, id.uuid(), &[]).await?;
    Ok(email)
}
