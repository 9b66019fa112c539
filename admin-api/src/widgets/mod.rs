//! Widgets: entry points on sites.

mod identity;
mod write;

pub use write::{NewWidget, PatchWidget, WantedIdentity, create, patch, rotate_identity_secret, rotate_key};

use bus_schema::{
    GroupId, TenantId, WidgetId,
    config::{IdentityAlgorithm, Record},
};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{At, Id, schema::config::widgets};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    db::{Change, Times, WidgetRow},
    http::Problem,
    things::{Thing, thing},
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
    #[schema(value_type = Map<String, Value>)]
    pub theme: Value,
    /// How the site proves who its visitor is.
    pub identity_algorithm: Option<IdentityAlgorithm>,
    /// What the site signs identity tokens with; in the answer to the request that made it, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity_secret: Option<String>,
    pub identity_required: bool,
    #[serde(flatten)]
    pub times: Times,
}

impl WidgetView {
    fn of(row: WidgetRow) -> Result<Self, Problem> {
        let algorithm = row.identity()?.map(|key| key.algorithm());
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
            identity_secret: None,
            identity_required: row.identity_required,
            times: Times::of(row.created_at, row.updated_at, row.deleted_at),
        })
    }
}

impl Thing for WidgetRow {
    type View = WidgetView;

    thing!(WidgetRow, widgets, WidgetId, Widget, "/v1/widgets", "/name", "another widget has this name");

    async fn views(
        _: &mut AsyncPgConnection,
        _: TenantId,
        rows: Vec<Self>,
    ) -> Result<Vec<WidgetView>, Problem> {
        rows.into_iter().map(WidgetView::of).collect()
    }

    async fn publish(&self, change: &mut Change) -> Result<(), Problem> {
        change.publish(&Record::Widget(self.record()?)).await
    }
}
