//! `POST /v1/auth/refresh`: a refresh token for the next one and a new access token.

use axum::{Json, extract::State};
use bus_schema::{AgentId, ErrorCode, SessionId, TenantId, claims::STAFF_TOKEN_SECONDS};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use ops::auth::StaffGrant;
use persister::db::{
    At, Id,
    schema::config::{agents, refresh_tokens, sessions},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    secret,
    session::{self, Ended},
};
use crate::{
    app::App,
    audit_log::Audited,
    clock,
    db::{AgentRow, By, Change, meaning},
    http::{Body, Check, Checks, Problem, RequestId},
    metrics,
};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    pub refresh_token: String,
}

impl Check for Refresh {
    fn check(&self, checks: &mut Checks) {
        checks.that("/refresh_token", self.refresh_token.len() <= 200, "is no refresh token");
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FreshTokens)]
pub struct Tokens {
    pub access_token: String,
    pub refresh_token: String,
    pub expires_in: u64,
}

pub async fn refresh(
    State(app): State<App>,
    request_id: RequestId,
    Body(body): Body<Refresh>,
) -> Result<Json<Tokens>, Problem> {
    let answer = exchange(&app, &request_id, &body.refresh_token).await;
    let outcome = answer.as_ref().map_or_else(|problem| problem.body.code.name(), |_| "ok");
    metrics::login("refresh", outcome);
    answer.map(Json)
}

fn refused() -> Problem {
    Problem::new(ErrorCode::Unauthenticated, "this refresh token does not count: log in again")
}

async fn exchange(app: &App, request_id: &RequestId, token: &str) -> Result<Tokens, Problem> {
    let hash = secret::hash(token);
    let found = find(&mut *app.pool.get().await?, &hash).await?;
    let (tenant, session) = found.ok_or_else(refused)?;
    let by = By { tenant, agent: None, request_id: request_id.as_str().to_owned() };
    // The tenant's counter is not needed, but its lock is: exchanges of one token follow each other.
    let mut change = app.change(by).await?;
    let outcome = match exchange_in(&mut change, session, &hash).await {
        Ok(exchanged) => Ok(Some(exchanged)),
        Err(Refused::Reused) => end_family(&mut change, session).await.map(|()| None),
        Err(Refused::Plain) => Err(refused()),
        Err(Refused::Problem(problem)) => Err(problem),
    };
    let (agent, next) = change.finish(outcome).await?.ok_or_else(refused)?;
    let grant = StaffGrant { agent: agent.id.0, tenant, role: meaning(&agent.role)?, session };
    Ok(Tokens {
        access_token: app.tokens.mint(grant).token,
        refresh_token: next,
        expires_in: STAFF_TOKEN_SECONDS,
    })
}

async fn find(
    connection: &mut AsyncPgConnection,
    hash: &[u8],
) -> Result<Option<(TenantId, SessionId)>, Problem> {
    let found = refresh_tokens::table
        .filter(refresh_tokens::hash.eq(hash))
        .select((refresh_tokens::tenant_id, refresh_tokens::session_id))
        .first::<(Id<TenantId>, Id<SessionId>)>(connection)
        .await
        .optional()?;
    Ok(found.map(|(tenant, session)| (tenant.0, session.0)))
}

enum Refused {
    /// It was exchanged before: somebody has a copy.
    Reused,
    Plain,
    Problem(Problem),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Refused::Problem(problem)
    }
}

impl From<diesel::result::Error> for Refused {
    fn from(error: diesel::result::Error) -> Self {
        Refused::Problem(error.into())
    }
}

async fn exchange_in(
    change: &mut Change,
    session: SessionId,
    hash: &[u8],
) -> Result<(AgentRow, String), Refused> {
    let (tenant, now) = (change.tenant(), clock::now());
    let connection = change.connection();
    let open = sessions::table
        .find((Id(tenant), Id(session)))
        .filter(sessions::ended_at.is_null().and(sessions::expires_at.gt(At(now))))
        .select(sessions::agent_id)
        .first::<Id<AgentId>>(connection)
        .await
        .optional()?;
    let agent = open.ok_or(Refused::Plain)?;
    let unused = refresh_tokens::table.find((Id(tenant), hash)).filter(refresh_tokens::used_at.is_null());
    let used = diesel::update(unused).set(refresh_tokens::used_at.eq(At(now))).execute(connection).await?;
    if used == 0 {
        return Err(Refused::Reused);
    }
    let agent = agents::table
        .find((Id(tenant), agent))
        .filter(agents::deleted_at.is_null())
        .select(AgentRow::as_select())
        .first(connection)
        .await
        .optional()?
        .ok_or(Refused::Plain)?;
    let next = session::issue(connection, tenant, session, now).await?;
    Ok((agent, next))
}

async fn end_family(change: &mut Change, session: SessionId) -> Result<(), Problem> {
    tracing::warn!(%session, "a refresh token was used twice: its session is ended");
    if session::end(change, session, Ended::Reused).await? {
        change.audit("refresh_token_reused", Audited::Session, session.uuid(), &[]).await?;
    }
    Ok(())
}
