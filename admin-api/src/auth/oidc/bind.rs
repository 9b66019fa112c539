//! Whose account an identity is.
//!
//! Invariant: an identity is bound to an account of the same address only if nobody else can have made that account: its
//! address was proved, or it has no password. Nobody gets an account by logging in; who has none was not invited.

use bus_schema::{AccountId, AgentId, ErrorCode, TenantId};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{
    At, Id,
    schema::config::{accounts, agents, identities},
};

use super::id_token::Identity;
use crate::{
    app::App,
    auth::{account_by_email, account_change::AccountChange, invitation},
    clock,
    db::{AccountRow, By},
    http::{Problem, RequestId},
};

pub async fn bind(
    app: &App,
    provider: &str,
    identity: &Identity,
    request_id: &RequestId,
) -> Result<AccountId, Problem> {
    let known = known(&mut *app.pool.get().await?, provider, &identity.subject).await?;
    let account = match known {
        Some(account) => account,
        None => first_time(app, provider, identity, request_id).await?,
    };
    // Nobody has a password to accept with; the address is theirs, and so are the invitations sent to it.
    let theirs = identity.email.as_ref().is_some_and(|email| email.eq_ignore_ascii_case(&account.email));
    if account.password_hash.is_none() && theirs {
        accept_invitations(app, account.id, request_id).await?;
    }
    Ok(account.id.0)
}

async fn known(
    connection: &mut AsyncPgConnection,
    provider: &str,
    subject: &str,
) -> Result<Option<AccountRow>, Problem> {
    let place = identities::table.find((provider, subject));
    diesel::update(place).set(identities::last_used_at.eq(At(clock::now()))).execute(connection).await?;
    let found = identities::table
        .inner_join(accounts::table.on(accounts::id.eq(identities::account_id)))
        .filter(identities::provider.eq(provider).and(identities::subject.eq(subject)))
        .filter(accounts::deleted_at.is_null())
        .select(AccountRow::as_select())
        .first(connection)
        .await;
    Ok(found.optional()?)
}

async fn first_time(
    app: &App,
    provider: &str,
    identity: &Identity,
    request_id: &RequestId,
) -> Result<AccountRow, Problem> {
    let email = identity.email.as_ref().ok_or_else(|| {
        Problem::new(ErrorCode::Forbidden, "the provider does not say that your address is yours")
    })?;
    let account = account_by_email(&mut *app.pool.get().await?, email).await?;
    let account = account.ok_or_else(|| {
        Problem::new(ErrorCode::Forbidden, "nobody here has your address: ask an admin to invite you")
    })?;
    if account.email_verified_at.is_none() && account.password_hash.is_some() {
        return Err(Problem::new(
            ErrorCode::Forbidden,
            "whether your account's address is yours was never proved: choose a new password by mail first",
        ));
    }
    let mut change = AccountChange::begin(app, account.id.0, request_id).await?;
    let bound = bind_in(&mut change, provider, &identity.subject, account.id).await;
    change.finish(bound).await?;
    Ok(account)
}

async fn bind_in(
    change: &mut AccountChange,
    provider: &str,
    subject: &str,
    account: Id<AccountId>,
) -> Result<(), Problem> {
    let now = At(change.now);
    diesel::insert_into(identities::table)
        .values((
            identities::provider.eq(provider),
            identities::subject.eq(subject),
            identities::account_id.eq(account),
            identities::created_at.eq(now),
            identities::last_used_at.eq(now),
        ))
        .on_conflict_do_nothing()
        .execute(change.connection())
        .await?;
    change.verify_email().await?;
    change.audit("identity_bound").await
}

async fn accept_invitations(
    app: &App,
    account: Id<AccountId>,
    request_id: &RequestId,
) -> Result<(), Problem> {
    let waiting: Vec<(Id<TenantId>, Id<AgentId>)> = agents::table
        .filter(agents::account_id.eq(account).and(agents::deleted_at.is_null()))
        .filter(agents::invited_at.is_not_null())
        .select((agents::tenant_id, agents::id))
        .load(&mut app.pool.get().await?)
        .await?;
    for (tenant, agent) in waiting {
        let by = By { tenant: tenant.0, agent: Some(agent.0), request_id: request_id.as_str().to_owned() };
        let mut change = app.change(by).await?;
        // False: it was accepted in another tab, or taken back, since it was looked up. Where they work is seen later.
        let joined = invitation::join(&mut change, agent.0).await;
        change.finish(joined).await?;
    }
    Ok(())
}
