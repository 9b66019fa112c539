//! `GET /v1/api-tokens` and `/v1/api-tokens/{id}`.

use axum::{Json, extract::State};
use bus_schema::{AgentId, ApiTokenId, Timestamp};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use persister::db::{At, Id, schema::config::api_tokens};
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiTokenRow;
use crate::{
    access::Caller,
    app::App,
    db::Times,
    http::{List, Page, PageQuery, PathId, Position, Problem, Query, Tagged},
    scope::Scope,
};

#[derive(Debug, Serialize, ToSchema)]
pub struct ApiTokenView {
    #[schema(value_type = uuid::Uuid)]
    pub id: ApiTokenId,
    pub name: String,
    /// How the token begins.
    pub hint: String,
    #[schema(value_type = Vec<Scope>)]
    pub scopes: Vec<String>,
    /// The agent who made it.
    #[schema(value_type = uuid::Uuid)]
    pub created_by: AgentId,
    /// Null: it does not end by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// To the minute.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    #[serde(flatten)]
    pub times: Times,
}

impl ApiTokenView {
    pub(super) fn of(row: ApiTokenRow) -> Self {
        Self {
            id: row.id.0,
            name: row.name,
            hint: row.hint,
            scopes: row.scopes,
            created_by: row.created_by.0,
            expires_at: row.expires_at.map(|at| at.0),
            last_used_at: row.last_used_at.map(|at| at.0),
            times: Times::of(row.created_at, row.updated_at, row.deleted_at),
        }
    }
}

pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<ApiTokenView>>, Problem> {
    let page = Page::try_from(&query)?;
    let mut rows = api_tokens::table
        .filter(api_tokens::tenant_id.eq(Id(caller.tenant)))
        .filter(api_tokens::deleted_at.is_not_null().eq(query.deleted.unwrap_or(false)))
        .order((api_tokens::created_at, api_tokens::id))
        .limit(page.rows())
        .select(ApiTokenRow::as_select())
        .into_boxed();
    if let Some(Position { at, id }) = page.after {
        let later = api_tokens::created_at.eq(At(at)).and(api_tokens::id.gt(Id(ApiTokenId::from_uuid(id))));
        rows = rows.filter(api_tokens::created_at.gt(At(at)).or(later));
    }
    let rows: Vec<ApiTokenRow> = rows.load(&mut app.within(caller.tenant).await?).await?;
    let place = |row: &ApiTokenRow| Position { at: row.created_at.0, id: row.id.0.uuid() };
    Ok(Json(page.of_rows(rows, place, ApiTokenView::of)))
}

pub async fn get(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<ApiTokenId>,
) -> Result<Tagged<ApiTokenView>, Problem> {
    let row: ApiTokenRow = api_tokens::table
        .find((Id(caller.tenant), Id(id)))
        .filter(api_tokens::deleted_at.is_null())
        .select(ApiTokenRow::as_select())
        .first(&mut app.within(caller.tenant).await?)
        .await
        .optional()?
        .ok_or_else(Problem::not_found)?;
    Ok(Tagged::ok(row.revision, ApiTokenView::of(row)))
}
