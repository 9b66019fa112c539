//! Tags that agents put on threads.

use axum::extract::State;
use bus_schema::{TagId, config::Record};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{At, Id, schema::config::tags};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    access::Caller,
    app::App,
    db::{Change, TagRow, Times, named},
    http::{Body, Check, Checks, IfMatch, PathId, Problem, Tagged, present},
    things::{self, Thing, thing},
};

#[derive(Debug, Serialize, ToSchema)]
pub struct TagView {
    #[schema(value_type = uuid::Uuid)]
    pub id: TagId,
    pub name: String,
    /// `#rrggbb`
    pub color: Option<String>,
    #[serde(flatten)]
    pub times: Times,
}

impl Thing for TagRow {
    type View = TagView;

    thing!(TagRow, tags, TagId, Tag, "/v1/tags", "/name", "another tag has this name");

    async fn views(
        _: &mut AsyncPgConnection,
        _: bus_schema::TenantId,
        rows: Vec<Self>,
    ) -> Result<Vec<TagView>, Problem> {
        let view = |row: TagRow| TagView {
            id: row.id.0,
            name: row.name,
            color: row.color,
            times: Times::of(row.created_at, row.updated_at, row.deleted_at),
        };
        Ok(rows.into_iter().map(view).collect())
    }

    async fn publish(&self, change: &mut Change) -> Result<(), Problem> {
        change.publish(&Record::Tag(self.record())).await
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTag {
    pub name: String,
    /// `#rrggbb`
    #[serde(default)]
    pub color: Option<String>,
}

fn check_color(checks: &mut Checks, color: Option<&String>) {
    let right = |color: &String| {
        color
            .strip_prefix('#')
            .is_some_and(|hex| hex.len() == 6 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    checks.that("/color", color.is_none_or(right), "must be a color such as #1f8a70");
}

impl Check for NewTag {
    fn check(&self, checks: &mut Checks) {
        checks.name("/name", &self.name);
        check_color(checks, self.color.as_ref());
    }
}

pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Body(new): Body<NewTag>,
) -> Result<Tagged<TagView>, Problem> {
    let mut change = app.change(caller.by()).await?;
    let row = TagRow {
        tenant_id: Id(change.tenant()),
        id: Id(TagId::from_uuid(Uuid::now_v7())),
        name: new.name,
        color: new.color,
        revision: change.revision,
        created_at: At(change.now),
        updated_at: At(change.now),
        deleted_at: None,
    };
    let made = things::add(&mut change, row).await;
    change.finish(made).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchTag {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub color: Option<Option<String>>,
}

impl Check for PatchTag {
    fn check(&self, checks: &mut Checks) {
        if let Some(name) = &self.name {
            checks.name("/name", name);
        }
        check_color(checks, self.color.iter().flatten().next());
    }
}

pub async fn patch(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<TagId>,
    if_match: IfMatch,
    Body(patch): Body<PatchTag>,
) -> Result<Tagged<TagView>, Problem> {
    let mut change = app.change(caller.by()).await?;
    let done = patch_in(&mut change, id, &if_match, patch).await;
    change.finish(done).await
}

async fn patch_in(
    change: &mut Change,
    id: TagId,
    if_match: &IfMatch,
    patch: PatchTag,
) -> Result<Tagged<TagView>, Problem> {
    let mut row: TagRow = things::find(change, id).await?;
    if_match.check(row.revision)?;
    let fields = named([("name", patch.name.is_some()), ("color", patch.color.is_some())]);
    row.name = patch.name.unwrap_or(row.name);
    row.color = patch.color.unwrap_or(row.color);
    things::save(change, &mut row, "changed", &fields).await?;
    things::shown(change, row).await
}
