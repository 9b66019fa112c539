//! Widgets: entry points on sites.

mod write;

pub use write::{NewWidget, PatchWidget, create, delete, patch, restore, rotate_key};

use axum::{Json, extract::State};
use bus_schema::{GroupId, WidgetId, claims::Role, config::IdentityKey};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use persister::db::{At, Id, schema::config::widgets};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    access::Caller,
    app::App,
    db::{Times, WidgetRow},
    http::{List, Page, PageQuery, PathId, Position, Problem, Query, Tagged},
};

#[derive(Debug, Serialize, ToSchema)]
pub struct WidgetView {
    #[schema(value_type = uuid::Uuid)]
    pub id: WidgetId,
    /// The public key that pages carry.
    pub key: String,
    pub name: String,
    /// Pages that may use it; `*` allows every one.
    pub allowed_origins: Vec<String>,
    #[schema(value_type = Option<uuid::Uuid>)]
    pub default_group_id: Option<GroupId>,
    pub greeting: Option<String>,
    pub locale: Option<String>,
    #[schema(value_type = Object)]
    pub theme: Value,
    /// How the site proves who its visitor is: `HS256` or `EdDSA`; the key itself is never shown.
    pub identity_algorithm: Option<&'static str>,
    pub identity_required: bool,
    #[serde(flatten)]
    pub times: Times,
}

impl WidgetView {
    fn of(row: WidgetRow) -> Result<Self, Problem> {
        let algorithm = row.identity()?.map(|key| match key {
            IdentityKey::HS256 { .. } => "HS256",
            IdentityKey::EdDSA { .. } => "EdDSA",
        });
        Ok(Self {
            id: row.id.0,
            key: row.key,
            name: row.name,
            allowed_origins: row.allowed_origins,
            default_group_id: row.default_group_id.map(|id| id.0),
            greeting: row.greeting,
            locale: row.locale,
            theme: row.theme,
            identity_algorithm: algorithm,
            identity_required: row.identity_required,
            times: Times::of(row.created_at, row.updated_at, row.deleted_at),
        })
    }
}

pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<List<WidgetView>>, Problem> {
    let page = Page::try_from(&query)?;
    let deleted = query.deleted.unwrap_or(false);
    if deleted {
        caller.must_be(Role::Admin)?;
    }
    let mut rows = widgets::table
        .filter(widgets::tenant_id.eq(Id(caller.tenant)))
        .filter(widgets::deleted_at.is_not_null().eq(deleted))
        .order((widgets::created_at, widgets::id))
        .limit(page.rows())
        .select(WidgetRow::as_select())
        .into_boxed();
    if let Some(Position { at, id }) = page.after {
        let later = widgets::created_at.eq(At(at)).and(widgets::id.gt(Id(WidgetId::from_uuid(id))));
        rows = rows.filter(widgets::created_at.gt(At(at)).or(later));
    }
    let rows: Vec<WidgetRow> = rows.load(&mut app.within(caller.tenant).await?).await?;
    let place = |row: &WidgetRow| Position { at: row.created_at.0, id: row.id.0.uuid() };
    let list = page.of_rows(rows, place, WidgetView::of);
    let data = list.data.into_iter().collect::<Result<_, Problem>>()?;
    Ok(Json(List { data, next_cursor: list.next_cursor }))
}

pub async fn get(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<WidgetId>,
) -> Result<Tagged<WidgetView>, Problem> {
    let row: WidgetRow = widgets::table
        .find((Id(caller.tenant), Id(id)))
        .filter(widgets::deleted_at.is_null())
        .select(WidgetRow::as_select())
        .first(&mut app.within(caller.tenant).await?)
        .await
        .optional()?
        .ok_or_else(Problem::not_found)?;
    Ok(Tagged::ok(row.revision, WidgetView::of(row)?))
}
