//! `POST /v1/auth/login`.
//!
//! Invariant: what is answered and how long it takes tell nothing about an account to whom does not know its
//! password.

use axum::{Json, extract::State};
use bus_schema::{ErrorCode, TenantId, claims::STAFF_TOKEN_SECONDS};
use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{Bool, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use http::HeaderMap;
use ops::auth::StaffGrant;
use persister::db::{
    Id,
    schema::config::{accounts, agents},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{enter::enter, session};
use crate::{
    agents::AgentView,
    app::App,
    clock,
    db::{AccountRow, AgentRow, TenantRow, meaning},
    http::{Body, Check, Checks, Peer, Problem},
    metrics,
    tenant::TenantView,
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    pub email: String,
    pub password: String,
    /// Which tenant, for an account in several.
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub tenant_id: Option<TenantId>,
}

impl Check for Login {
    fn check(&self, checks: &mut Checks) {
        checks.email("/email", &self.email);
        checks.password_guess("/password", &self.password);
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct LoggedIn {
    pub access_token: String,
    pub refresh_token: String,
    /// Seconds for which the access token counts.
    pub expires_in: u64,
    pub agent: AgentView,
    pub tenant: TenantView,
}

pub async fn login(
    State(app): State<App>,
    peer: Peer,
    headers: HeaderMap,
    Body(login): Body<Login>,
) -> Result<Json<LoggedIn>, Problem> {
    let answer = try_login(&app, peer, &headers, login).await;
    let outcome = answer.as_ref().map_or_else(|problem| problem.body.code.name(), |_| "ok");
    metrics::login("password", outcome);
    answer.map(Json)
}

async fn try_login(app: &App, peer: Peer, headers: &HeaderMap, login: Login) -> Result<LoggedIn, Problem> {
    app.budgets.take(peer, &login.email)?;
    let account = {
        let mut connection = app.pool.get().await?;
        account_by_email(&mut connection, &login.email).await?
    };
    let stored = account.as_ref().and_then(|account| account.password_hash.clone());
    let right = app.passwords.verify(login.password, stored).await?;
    let account = account.filter(|_| right).ok_or_else(refused)?;
    enter(app, &account, login.tenant_id, headers).await
}

pub(super) fn refused() -> Problem {
    Problem::new(ErrorCode::Unauthenticated, "the e-mail address or the password is wrong")
}

pub async fn account_by_email(
    connection: &mut AsyncPgConnection,
    email: &str,
) -> Result<Option<AccountRow>, Problem> {
    // As its index has it, and as budgets have it: letters beyond ASCII are as they are.
    let same = sql::<Bool>("lower(config.accounts.email COLLATE \"C\") = ")
        .bind::<Text, _>(email.to_ascii_lowercase());
    let found = accounts::table
        .filter(same)
        .filter(accounts::deleted_at.is_null())
        .select(AccountRow::as_select())
        .first(connection)
        .await;
    Ok(found.optional()?)
}

/// A new session of an agent, with its first tokens. Within a transaction, whoever changes the agent meanwhile waits
/// until the session can be seen, and ends it.
pub(super) async fn begin(
    app: &App,
    connection: &mut AsyncPgConnection,
    account: &AccountRow,
    agent: &AgentRow,
    tenant: &TenantRow,
    headers: &HeaderMap,
) -> Result<LoggedIn, Problem> {
    let user_agent = headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok());
    let agent = works_still(connection, agent).await?;
    let (tenant_id, agent_id, now) = (tenant.tenant_id.0, agent.id.0, clock::now());
    let id = session::begin(connection, tenant_id, agent_id, user_agent, now).await?;
    let refresh_token = session::issue(connection, tenant_id, id, now).await?;
    let grant = StaffGrant { agent: agent_id, tenant: tenant_id, role: meaning(&agent.role)?, session: id };
    Ok(LoggedIn {
        access_token: app.tokens.mint(grant).token,
        refresh_token,
        expires_in: STAFF_TOKEN_SECONDS,
        agent: AgentView::load(connection, agent, account.email.clone()).await?,
        tenant: TenantView::of(tenant)?,
    })
}

/// The agent as they are by now: what was read before the transaction may have changed, and the role most of all.
async fn works_still(connection: &mut AsyncPgConnection, agent: &AgentRow) -> Result<AgentRow, Problem> {
    let now = agents::table
        .find((agent.tenant_id, agent.id))
        .filter(agents::deleted_at.is_null().and(agents::invited_at.is_null()))
        .for_share()
        .select(AgentRow::as_select())
        .first(connection)
        .await
        .optional()?;
    now.ok_or_else(refused)
}

/// The account behind an agent.
pub(super) async fn account_of(
    connection: &mut AsyncPgConnection,
    agent: &AgentRow,
) -> Result<AccountRow, Problem> {
    let id: Id<_> = agent.account_id;
    Ok(accounts::table.find(id).select(AccountRow::as_select()).first(connection).await?)
}
