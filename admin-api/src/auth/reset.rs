//! `POST /v1/auth/password`, `/password/forgot` and `/password/reset`.
//!
//! Invariant: asking for a mail says and costs the same whether or not there is an account; a new password ends every
//! session that the old one opened.

use axum::extract::State;
use bus_schema::ErrorCode;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use http::StatusCode;
use persister::db::{
    At, Id,
    schema::config::{accounts, agents},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{AccountChange, Ended, Hashed, mailed, mfa};
use crate::{
    access::Caller,
    app::App,
    clock,
    db::AccountRow,
    http::{Body, Check, Checks, Peer, Problem, RequestId},
    mail::{self, Kind},
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    pub current_password: String,
    pub new_password: String,
}

impl Check for ChangePassword {
    fn check(&self, checks: &mut Checks) {
        checks.password_guess("/current_password", &self.current_password);
        checks.password("/new_password", &self.new_password);
        let same = self.current_password == self.new_password;
        checks.that("/new_password", !same, "must differ from the current one");
    }
}

/// Another password for oneself; ends all other sessions.
pub async fn change_password(
    State(app): State<App>,
    peer: Peer,
    caller: Caller,
    Body(body): Body<ChangePassword>,
) -> Result<StatusCode, Problem> {
    let account = account_of_caller(&app, &caller).await?;
    app.budgets.take(peer, &account.email)?;
    if !app.passwords.verify(body.current_password, account.password_hash.clone()).await? {
        return Err(Problem::value("/current_password", "is wrong"));
    }
    let hashed = app.passwords.hash(body.new_password).await?;
    let mut change = AccountChange::begin(&app, account.id.0, &caller.request_id).await?;
    let changed = change_in(&mut change, &account, &caller, hashed).await;
    change.finish(changed).await?;
    app.mail_wake.notify_one();
    Ok(StatusCode::NO_CONTENT)
}

async fn change_in(
    change: &mut AccountChange,
    account: &AccountRow,
    caller: &Caller,
    hashed: Hashed,
) -> Result<(), Problem> {
    let now: Option<String> = accounts::table
        .find(account.id)
        .for_update()
        .select(accounts::password_hash)
        .first(change.connection())
        .await?;
    if now != account.password_hash {
        return Err(Problem::new(ErrorCode::Conflict, "the password was changed meanwhile"));
    }
    change.set_password(hashed).await?;
    change.end_sessions(Some(caller.session), Ended::PasswordChanged).await?;
    change.audit("password_changed").await?;
    let at = change.now;
    mail::enqueue(change.connection(), Kind::PasswordChanged, &account.email, at).await
}

/// The account behind a request.
pub async fn account_of_caller(app: &App, caller: &Caller) -> Result<AccountRow, Problem> {
    let account = agents::table
        .inner_join(accounts::table.on(accounts::id.eq(agents::account_id)))
        .filter(agents::tenant_id.eq(Id(caller.tenant)).and(agents::id.eq(Id(caller.agent))))
        .select(AccountRow::as_select())
        .first(&mut app.pool.get().await?)
        .await?;
    Ok(account)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Forgot {
    pub email: String,
}

impl Check for Forgot {
    fn check(&self, checks: &mut Checks) {
        checks.email("/email", &self.email);
    }
}

/// Whether there is such an account is looked up when the mail is sent, not here.
pub async fn forgot(
    State(app): State<App>,
    peer: Peer,
    Body(body): Body<Forgot>,
) -> Result<StatusCode, Problem> {
    app.budgets.take_mail(peer, &body.email)?;
    mail::enqueue(&mut *app.pool.get().await?, Kind::Reset, &body.email, clock::now()).await?;
    app.mail_wake.notify_one();
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// Out of the mail.
    pub token: String,
    pub password: String,
}

impl Check for Reset {
    fn check(&self, checks: &mut Checks) {
        mailed::check(checks, &self.token);
        checks.password("/password", &self.password);
    }
}

pub async fn reset(
    State(app): State<App>,
    peer: Peer,
    request_id: RequestId,
    Body(body): Body<Reset>,
) -> Result<StatusCode, Problem> {
    app.budgets.take_cheap(peer)?;
    let mailed = mailed::find(&mut *app.pool.get().await?, &body.token).await?;
    if !mailed.is_reset() {
        return Err(mailed::refused());
    }
    app.budgets.take_hash()?;
    let hashed = app.passwords.hash(body.password).await?;
    let mut change = AccountChange::begin(&app, mailed.account_id.0, &request_id).await?;
    let done = reset_in(&mut change, &mailed, hashed).await;
    change.finish(done).await?;
    app.mail_wake.notify_one();
    Ok(StatusCode::NO_CONTENT)
}

async fn reset_in(
    change: &mut AccountChange,
    mailed: &mailed::Mailed,
    hashed: Hashed,
) -> Result<(), Problem> {
    mailed.take(change.connection()).await?;
    change.set_password(hashed).await?;
    let proved: Option<At> = accounts::table
        .find(mailed.account_id)
        .select(accounts::email_verified_at)
        .first(change.connection())
        .await?;
    // Whoever set it up need not be who has the address.
    if proved.is_none() && mfa::turn_off(change.connection(), mailed.account_id).await? {
        change.audit("second_factor_removed").await?;
    }
    change.verify_email().await?;
    change.end_sessions(None, Ended::PasswordChanged).await?;
    change.audit("password_reset").await?;
    let email: String =
        accounts::table.find(mailed.account_id).select(accounts::email).first(change.connection()).await?;
    let at = change.now;
    mail::enqueue(change.connection(), Kind::PasswordChanged, &email, at).await
}
