//! The second factor: `POST /v1/auth/mfa/totp`, `/mfa/totp/confirm` and `DELETE /v1/auth/mfa`.
//!
//! Invariant: it is turned on only by who knows the password and has the authenticator at hand, and off only by who
//! has the authenticator or a recovery code: a stolen access token does neither. Who has no password logs in at a
//! provider, which asks for a second factor of its own, and has none here.

mod factor;
mod totp;

pub use factor::{RightCode, check, is_on, turn_off, use_up};

use axum::{Json, extract::State};
use bus_schema::ErrorCode;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AccountChange, reset::account_of_caller};
use crate::{
    access::Caller,
    app::App,
    clock,
    db::AccountRow,
    http::{Body, Check, Checks, Peer, Problem},
};

const CODE_CHARS_MAX: usize = 64;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrepareTotp {
    /// One's own.
    pub password: String,
}

impl Check for PrepareTotp {
    fn check(&self, checks: &mut Checks) {
        checks.password_guess("/password", &self.password);
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct TotpSecret {
    /// In base32, to be typed into an authenticator.
    pub secret: String,
    /// The same, as what a QR code holds.
    pub otpauth_url: String,
}

/// A secret for an authenticator, which counts once its first code was given.
pub async fn prepare_totp(
    State(app): State<App>,
    peer: Peer,
    caller: Caller,
    Body(body): Body<PrepareTotp>,
) -> Result<Json<TotpSecret>, Problem> {
    let account = account_of_caller(&app, &caller).await?;
    has_password(&account)?;
    app.budgets.take(peer, &account.email)?;
    if !app.passwords.verify(body.password, account.password_hash.clone()).await? {
        return Err(Problem::value("/password", "is wrong"));
    }
    let made = factor::prepare(&mut *app.pool.get().await?, account.id, clock::now()).await?;
    let secret = made.ok_or_else(|| {
        Problem::new(ErrorCode::AlreadyExists, "there is a second factor already: remove it first")
    })?;
    let secret = totp::base32(&secret);
    Ok(Json(TotpSecret { otpauth_url: totp::uri(&secret, &account.email), secret }))
}

/// Whoever has a token of an account without one would have nothing else to prove.
fn has_password(account: &AccountRow) -> Result<(), Problem> {
    if account.password_hash.is_some() {
        return Ok(());
    }
    let text = "the account has no password: its provider is who asks for a second factor";
    Err(Problem::new(ErrorCode::Conflict, text))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Code {
    /// Six digits of the authenticator; a recovery code where one is allowed.
    pub code: String,
}

impl Check for Code {
    fn check(&self, checks: &mut Checks) {
        checks.text("/code", &self.code, 1..=CODE_CHARS_MAX);
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RecoveryCodes {
    /// Each lets in once without the authenticator; they are never shown again.
    pub recovery_codes: Vec<String>,
}

pub async fn confirm_totp(
    State(app): State<App>,
    peer: Peer,
    caller: Caller,
    Body(body): Body<Code>,
) -> Result<Json<RecoveryCodes>, Problem> {
    let account = account_of_caller(&app, &caller).await?;
    has_password(&account)?;
    app.budgets.take_code(peer, &account.email)?;
    let mut change = AccountChange::begin(&app, account.id.0, &caller.request_id).await?;
    let confirmed = confirm_in(&mut change, &account, &body.code).await;
    let recovery_codes = change.finish(confirmed).await?;
    Ok(Json(RecoveryCodes { recovery_codes }))
}

async fn confirm_in(
    change: &mut AccountChange,
    account: &AccountRow,
    code: &str,
) -> Result<Vec<String>, Problem> {
    let now = change.now;
    // Held from here on: the code is proved for the secret that is turned on.
    match factor::held(change.connection(), account.id).await? {
        None => return Err(wrong_code()),
        Some(true) => return Err(Problem::new(ErrorCode::AlreadyExists, "the second factor is on already")),
        Some(false) => {}
    }
    take(change, account, code).await?;
    let codes = factor::turn_on(change.connection(), account.id, now).await?;
    change.audit("second_factor_added").await?;
    Ok(codes)
}

pub async fn remove_mfa(
    State(app): State<App>,
    peer: Peer,
    caller: Caller,
    Body(body): Body<Code>,
) -> Result<StatusCode, Problem> {
    let account = account_of_caller(&app, &caller).await?;
    app.budgets.take_code(peer, &account.email)?;
    let mut change = AccountChange::begin(&app, account.id.0, &caller.request_id).await?;
    let removed = remove_in(&mut change, &account, &body.code).await;
    change.finish(removed).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove_in(change: &mut AccountChange, account: &AccountRow, code: &str) -> Result<(), Problem> {
    if !is_on(change.connection(), account.id).await? {
        return Err(Problem::not_found());
    }
    take(change, account, code).await?;
    factor::turn_off(change.connection(), account.id).await?;
    change.audit("second_factor_removed").await
}

/// Uses a right code up.
async fn take(change: &mut AccountChange, account: &AccountRow, code: &str) -> Result<(), Problem> {
    let now = change.now;
    let right = check(change.connection(), account.id, code, now).await?;
    let used = match right {
        Some(right) => use_up(change.connection(), account.id, &right).await?,
        None => false,
    };
    if used { Ok(()) } else { Err(wrong_code()) }
}

pub fn wrong_code() -> Problem {
    Problem::value("/code", "is wrong, or was used before")
}
