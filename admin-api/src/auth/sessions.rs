//! A person's logins: list, end, validate; and the public keys.

use axum::{Json, extract::State};
use bus_schema::{SessionId, Timestamp, claims::Role};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use http::StatusCode;
use persister::db::{At, Id, schema::config::sessions};
use serde::Serialize;
use utoipa::ToSchema;

use super::session::{self, Ended};
use crate::{
    access::Caller,
    app::App,
    clock,
    db::SessionRow,
    http::{List, Page, PageQuery, PathId, Position, Problem, Query},
};

#[derive(Debug, Serialize, ToSchema)]
pub struct SessionView {
    #[schema(value_type = uuid::Uuid)]
    pub id: SessionId,
    /// The one this request was made with.
    pub current: bool,
    pub user_agent: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub last_used_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// The caller's open sessions, oldest first.
pub async fn sessions(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<SessionView>>, Problem> {
    let page = Page::try_from(&query)?;
    let mut rows = sessions::table
        .filter(sessions::tenant_id.eq(Id(caller.tenant)).and(sessions::agent_id.eq(Id(caller.agent))))
        .filter(sessions::ended_at.is_null().and(sessions::expires_at.gt(At(clock::now()))))
        .order((sessions::created_at, sessions::id))
        .limit(page.rows())
        .select(SessionRow::as_select())
        .into_boxed();
    if let Some(Position { at, id }) = page.after {
        let later = sessions::created_at.eq(At(at)).and(sessions::id.gt(Id(SessionId::from_uuid(id))));
        rows = rows.filter(sessions::created_at.gt(At(at)).or(later));
    }
    let rows: Vec<SessionRow> = rows.load(&mut app.within(caller.tenant).await?).await?;
    let place = |row: &SessionRow| Position { at: row.created_at.0, id: row.id.0.uuid() };
    let show = |row: SessionRow| SessionView {
        id: row.id.0,
        current: row.id.0 == caller.session,
        user_agent: row.user_agent,
        created_at: row.created_at.0,
        last_used_at: row.last_used_at.0,
        expires_at: row.expires_at.0,
    };
    Ok(Json(page.of_rows(rows, place, show)))
}

/// Ends one of the caller's sessions.
pub async fn revoke(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<SessionId>,
) -> Result<StatusCode, Problem> {
    let mine = sessions::table
        .find((Id(caller.tenant), Id(id)))
        .filter(sessions::agent_id.eq(Id(caller.agent)))
        .select(sessions::id)
        .first::<Id<SessionId>>(&mut app.within(caller.tenant).await?)
        .await
        .optional()?;
    mine.ok_or_else(Problem::not_found)?;
    end(&app, &caller, id, Ended::Revoked).await
}

/// Ends the session this request was made with.
pub async fn logout(State(app): State<App>, caller: Caller) -> Result<StatusCode, Problem> {
    end(&app, &caller, caller.session, Ended::Logout).await
}

async fn end(app: &App, caller: &Caller, id: SessionId, why: Ended) -> Result<StatusCode, Problem> {
    let mut change = app.change(caller.by()).await?;
    let ended = session::end(&mut change, id, why).await;
    change.finish(ended).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Validated {
    pub valid: bool,
    #[schema(value_type = uuid::Uuid)]
    pub agent_id: bus_schema::AgentId,
    #[schema(value_type = uuid::Uuid)]
    pub tenant_id: bus_schema::TenantId,
    pub role: Role,
    #[schema(value_type = uuid::Uuid)]
    pub session_id: SessionId,
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// Whether the token still counts; what asks without one is told so by 401.
pub async fn validate(caller: Caller) -> Json<Validated> {
    Json(Validated {
        valid: true,
        agent_id: caller.agent,
        tenant_id: caller.tenant,
        role: caller.role,
        session_id: caller.session,
        expires_at: caller.expires_at,
    })
}

/// The keys that verify staff tokens (RFC 7517).
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it says how the answer looks")]
pub struct Jwks {
    pub keys: Vec<Jwk>,
}

/// An Ed25519 key.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "the same")]
pub struct Jwk {
    /// `OKP`
    pub kty: String,
    /// `Ed25519`
    pub crv: String,
    /// `EdDSA`
    pub alg: String,
    /// `sig`
    #[schema(rename = "use")]
    pub usage: String,
    /// As in the header of the tokens that it signs.
    pub kid: String,
    /// The public key, base64url.
    pub x: String,
}

/// As [`Jwks`].
pub async fn jwks(State(app): State<App>) -> Json<serde_json::Value> {
    Json(app.tokens.jwks())
}
