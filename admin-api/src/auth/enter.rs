//! From knowing who somebody is to their first tokens: a second factor, and the choice of a tenant.
//!
//! Invariant: which tenants an account works in is told only to who has passed all that is asked of it. A login that
//! is not complete lasts minutes, a few wrong codes, and one success.

use std::time::Duration;

use axum::{Json, extract::State};
use bus_schema::{AccountId, ErrorBody, ErrorCode, TenantId};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use http::HeaderMap;
use persister::db::{
    At, Id,
    schema::config::{accounts, agents, open_logins, tenants},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    login::{LoggedIn, begin, refused},
    mfa::{self, RightCode},
    oidc::challenge,
    secret,
};
use crate::{
    app::App,
    clock,
    db::{AccountRow, AgentRow, TenantRow, Within},
    http::{Body, Check, Checks, Peer, Problem},
    metrics,
};

/// How long a login may take.
const OPEN_FOR: Duration = Duration::from_secs(5 * 60);
const WRONG_CODES_MAX: i32 = 5;

/// Lets in who has proved to own the account, or says what is still asked.
pub async fn enter(
    app: &App,
    account: &AccountRow,
    wanted: Option<TenantId>,
    headers: &HeaderMap,
) -> Result<LoggedIn, Problem> {
    let mut transaction = Within::all(&app.pool).await?;
    let entered = enter_in(app, &mut transaction, account, wanted, headers).await;
    transaction.finish(entered).await?
}

/// The inner error asks for more, and what the login goes on with is kept.
async fn enter_in(
    app: &App,
    connection: &mut AsyncPgConnection,
    account: &AccountRow,
    wanted: Option<TenantId>,
    headers: &HeaderMap,
) -> Result<Result<LoggedIn, Problem>, Problem> {
    unchanged(connection, account).await?;
    if mfa::is_on(connection, account.id).await? {
        let token = open(connection, account.id, wanted, true, None).await?;
        return Ok(Err(ErrorBody::from(ErrorCode::MfaRequired).with("login_token", token).into()));
    }
    let places = places(connection, account.id, wanted).await?;
    match places.as_slice() {
        [] => Err(refused()),
        [(agent, tenant)] => Ok(Ok(begin(app, connection, account, agent, tenant, headers).await?)),
        several => {
            let token = open(connection, account.id, None, false, None).await?;
            Ok(Err(choice(several, &token)))
        }
    }
}

/// The password that was proved still counts, and whoever changes it now waits until the session can be seen, and
/// ends it: verifying takes so long that it may have been changed meanwhile.
pub(super) async fn unchanged(
    connection: &mut AsyncPgConnection,
    account: &AccountRow,
) -> Result<(), Problem> {
    let now: Option<Option<String>> = accounts::table
        .find(account.id)
        .filter(accounts::deleted_at.is_null())
        .for_share()
        .select(accounts::password_hash)
        .first(connection)
        .await
        .optional()?;
    if now.as_ref() == Some(&account.password_hash) { Ok(()) } else { Err(refused()) }
}

/// For who has proved to own the account elsewhere; gives the token that the login goes on with.
pub async fn open_for(
    app: &App,
    account: AccountId,
    wanted: Option<TenantId>,
    challenge: Option<String>,
) -> Result<String, Problem> {
    let mut connection = app.pool.get().await?;
    let needs_code = mfa::is_on(&mut connection, Id(account)).await?;
    open(&mut connection, Id(account), wanted, needs_code, challenge).await
}

/// A login that is not complete; gives the token that it goes on with.
async fn open(
    connection: &mut AsyncPgConnection,
    account: Id<AccountId>,
    wanted: Option<TenantId>,
    needs_code: bool,
    challenge: Option<String>,
) -> Result<String, Problem> {
    let token = secret::generate(secret::Purpose::OpenLogin);
    diesel::insert_into(open_logins::table)
        .values((
            open_logins::hash.eq(secret::hash(&token)),
            open_logins::account_id.eq(account),
            open_logins::tenant_id.eq(wanted.map(Id)),
            open_logins::needs_code.eq(needs_code),
            open_logins::challenge.eq(challenge),
            open_logins::expires_at.eq(At(clock::now().plus(OPEN_FOR))),
        ))
        .execute(connection)
        .await?;
    Ok(token)
}

fn choice(places: &[(AgentRow, TenantRow)], token: &str) -> Problem {
    let tenants: Vec<_> = places
        .iter()
        .map(|(_, tenant)| serde_json::json!({ "id": tenant.tenant_id.0, "name": tenant.name }))
        .collect();
    ErrorBody::from(ErrorCode::TenantRequired).with("tenants", tenants).with("login_token", token).into()
}

/// Where an account works.
async fn places(
    connection: &mut AsyncPgConnection,
    account: Id<AccountId>,
    wanted: Option<TenantId>,
) -> Result<Vec<(AgentRow, TenantRow)>, Problem> {
    let mut places: Vec<(AgentRow, TenantRow)> = agents::table
        .inner_join(tenants::table.on(tenants::tenant_id.eq(agents::tenant_id)))
        .filter(agents::account_id.eq(account).and(agents::deleted_at.is_null()))
        .filter(agents::invited_at.is_null())
        .filter(tenants::deleted_at.is_null())
        .order((agents::created_at, agents::tenant_id))
        .select((AgentRow::as_select(), TenantRow::as_select()))
        .load(connection)
        .await?;
    if let Some(wanted) = wanted {
        places.retain(|(agent, _)| agent.tenant_id.0 == wanted);
    }
    Ok(places)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompleteLogin {
    /// `login_token` of the answer that asked for more.
    pub login_token: String,
    /// Of the authenticator, or a recovery code; after `mfa_required`.
    #[serde(default)]
    pub code: Option<String>,
    /// Of the tenants to choose from; after `tenant_required`.
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub tenant_id: Option<TenantId>,
    /// The secret whose challenge the login at a provider began with.
    #[serde(default)]
    pub verifier: Option<String>,
}

impl Check for CompleteLogin {
    fn check(&self, checks: &mut Checks) {
        let fits = self.login_token.len() <= secret::LENGTH_MAX;
        checks.that("/login_token", fits, "is no login of ours");
        if let Some(code) = &self.code {
            checks.text("/code", code, 1..=secret::LENGTH_MAX);
        }
        if let Some(verifier) = &self.verifier {
            checks.text("/verifier", verifier, 1..=challenge::SECRET_CHARS_MAX);
        }
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = open_logins)]
struct Open {
    hash: Vec<u8>,
    account_id: Id<AccountId>,
    tenant_id: Option<Id<TenantId>>,
    needs_code: bool,
    challenge: Option<String>,
}

pub async fn complete_login(
    State(app): State<App>,
    peer: Peer,
    headers: HeaderMap,
    Body(body): Body<CompleteLogin>,
) -> Result<Json<LoggedIn>, Problem> {
    let answer = complete(&app, peer, &headers, body).await;
    let outcome = answer.as_ref().map_or_else(|problem| problem.body.code.name(), |_| "ok");
    metrics::login("second_step", outcome);
    answer.map(Json)
}

async fn complete(
    app: &App,
    peer: Peer,
    headers: &HeaderMap,
    body: CompleteLogin,
) -> Result<LoggedIn, Problem> {
    app.budgets.take_cheap(peer)?;
    let mut connection = app.pool.get().await?;
    let (login, account) = find(&mut connection, &body.login_token).await?;
    if !challenge::fits(login.challenge.as_deref(), body.verifier.as_deref()) {
        return Err(over());
    }
    let code = match (login.needs_code, body.code) {
        (false, _) => None,
        (true, None) => return Err(Problem::value("/code", "is asked for")),
        (true, Some(code)) => {
            app.budgets.take_code(peer, &account.email)?;
            let right = mfa::check(&mut connection, account.id, &code, clock::now()).await?;
            match right {
                Some(right) => Some(right),
                None => return Err(count_wrong(&mut connection, &login).await?),
            }
        }
    };
    let wanted = body.tenant_id.or_else(|| login.tenant_id.map(|id| id.0));
    let places = places(&mut connection, account.id, wanted).await?;
    drop(connection);
    match places.as_slice() {
        [] => Err(refused()),
        // The code is not used up: the choice comes with it.
        [_, _, ..] => Err(choice(&places, &body.login_token)),
        [(agent, tenant)] => {
            let mut transaction = Within::all(&app.pool).await?;
            let begun = match close(&mut transaction, &login, code.as_ref()).await {
                Ok(()) => begin(app, &mut transaction, &account, agent, tenant, headers).await,
                Err(problem) => Err(problem),
            };
            transaction.finish(begun).await
        }
    }
}

async fn find(connection: &mut AsyncPgConnection, token: &str) -> Result<(Open, AccountRow), Problem> {
    let found = open_logins::table
        .inner_join(accounts::table.on(accounts::id.eq(open_logins::account_id)))
        .filter(open_logins::hash.eq(secret::hash(token)))
        .filter(open_logins::expires_at.gt(At(clock::now())))
        .filter(open_logins::tries.lt(WRONG_CODES_MAX))
        .filter(accounts::deleted_at.is_null())
        .select((Open::as_select(), AccountRow::as_select()))
        .first(connection)
        .await
        .optional()?;
    found.ok_or_else(over)
}

fn over() -> Problem {
    Problem::new(ErrorCode::Unauthenticated, "this login is over, or began elsewhere: start again")
}

async fn count_wrong(connection: &mut AsyncPgConnection, login: &Open) -> Result<Problem, Problem> {
    diesel::update(open_logins::table.find(&login.hash))
        .set(open_logins::tries.eq(open_logins::tries + 1))
        .execute(connection)
        .await?;
    Ok(wrong_code())
}

pub(super) fn wrong_code() -> Problem {
    Problem::new(ErrorCode::Unauthenticated, "the code is wrong, or was used before")
}

/// The login is complete, once: of two that bring the same code one goes on.
async fn close(
    connection: &mut AsyncPgConnection,
    login: &Open,
    code: Option<&RightCode>,
) -> Result<(), Problem> {
    let closed = diesel::delete(open_logins::table.find(&login.hash)).execute(connection).await?;
    let used = match code {
        Some(code) => mfa::use_up(connection, login.account_id, code).await?,
        None => true,
    };
    if closed == 1 && used { Ok(()) } else { Err(over()) }
}
