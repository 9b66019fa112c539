//! Canned responses: texts that agents send by a shortcut.

use axum::extract::State;
use bus_schema::{CannedResponseId, GroupId};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{At, Id, schema::config::canned_responses};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    access::Caller,
    app::App,
    db::{CannedResponseRow, Change, Times, named},
    groups::must_exist,
    http::{Body, Check, Checks, IfMatch, PathId, Problem, Tagged, present},
    things::{self, Thing, thing},
};

const SHORTCUT_CHARS: std::ops::RangeInclusive<usize> = 1..=64;
const TEXT_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, Serialize, ToSchema)]
pub struct CannedResponseView {
    #[schema(value_type = uuid::Uuid)]
    pub id: CannedResponseId,
    /// What an agent types for it, such as `hello`.
    pub shortcut: String,
    pub title: Option<String>,
    pub text: String,
    /// For this group's agents; null: for all.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub group_id: Option<GroupId>,
    #[serde(flatten)]
    pub times: Times,
}

impl Thing for CannedResponseRow {
    type View = CannedResponseView;

    thing!(
        CannedResponseRow,
        canned_responses,
        CannedResponseId,
        CannedResponse,
        "/v1/canned-responses",
        "/shortcut",
        "another canned response has this shortcut"
    );

    async fn views(
        _: &mut AsyncPgConnection,
        _: bus_schema::TenantId,
        rows: Vec<Self>,
    ) -> Result<Vec<CannedResponseView>, Problem> {
        let view = |row: CannedResponseRow| CannedResponseView {
            id: row.id.0,
            shortcut: row.shortcut,
            title: row.title,
            text: row.text,
            group_id: row.group_id.map(|id| id.0),
            times: Times::of(row.created_at, row.updated_at, row.deleted_at),
        };
        Ok(rows.into_iter().map(view).collect())
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCannedResponse {
    /// What an agent types for it; no spaces.
    pub shortcut: String,
    #[serde(default)]
    pub title: Option<String>,
    pub text: String,
    /// For this group's agents; absent: for all.
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub group_id: Option<GroupId>,
}

fn check_values(
    checks: &mut Checks,
    shortcut: Option<&String>,
    title: Option<&String>,
    text: Option<&String>,
) {
    if let Some(shortcut) = shortcut {
        checks.text("/shortcut", shortcut, SHORTCUT_CHARS);
        checks.that("/shortcut", !shortcut.contains(char::is_whitespace), "must not hold spaces");
    }
    if let Some(title) = title {
        checks.name("/title", title);
    }
    if let Some(text) = text {
        let fits = !text.trim().is_empty() && text.len() <= TEXT_BYTES_MAX;
        checks.that("/text", fits, "must be text of 1 to 16384 bytes");
        checks.that("/text", !text.contains('\0'), "must not hold the character U+0000");
    }
}

impl Check for NewCannedResponse {
    fn check(&self, checks: &mut Checks) {
        check_values(checks, Some(&self.shortcut), self.title.as_ref(), Some(&self.text));
    }
}

pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Body(new): Body<NewCannedResponse>,
) -> Result<Tagged<CannedResponseView>, Problem> {
    let mut change = app.change(caller.by()).await?;
    let made = create_in(&mut change, new).await;
    change.finish(made).await
}

async fn create_in(
    change: &mut Change,
    new: NewCannedResponse,
) -> Result<Tagged<CannedResponseView>, Problem> {
    must_exist(change, new.group_id.as_slice(), |_| "/group_id".to_owned()).await?;
    let row = CannedResponseRow {
        tenant_id: Id(change.tenant()),
        id: Id(CannedResponseId::from_uuid(Uuid::now_v7())),
        shortcut: new.shortcut,
        title: new.title,
        text: new.text,
        group_id: new.group_id.map(Id),
        revision: change.revision,
        created_at: At(change.now),
        updated_at: At(change.now),
        deleted_at: None,
    };
    things::add(change, row).await
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchCannedResponse {
    #[serde(default)]
    pub shortcut: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub title: Option<Option<String>>,
    #[serde(default)]
    pub text: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub group_id: Option<Option<GroupId>>,
}

impl Check for PatchCannedResponse {
    fn check(&self, checks: &mut Checks) {
        let title = self.title.iter().flatten().next();
        check_values(checks, self.shortcut.as_ref(), title, self.text.as_ref());
    }
}

pub async fn patch(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<CannedResponseId>,
    if_match: IfMatch,
    Body(patch): Body<PatchCannedResponse>,
) -> Result<Tagged<CannedResponseView>, Problem> {
    let mut change = app.change(caller.by()).await?;
    let done = patch_in(&mut change, id, &if_match, patch).await;
    change.finish(done).await
}

async fn patch_in(
    change: &mut Change,
    id: CannedResponseId,
    if_match: &IfMatch,
    patch: PatchCannedResponse,
) -> Result<Tagged<CannedResponseView>, Problem> {
    let mut row: CannedResponseRow = things::find(change, id).await?;
    if_match.check(row.revision)?;
    let group = patch.group_id.flatten();
    must_exist(change, group.as_slice(), |_| "/group_id".to_owned()).await?;
    let fields = named([
        ("shortcut", patch.shortcut.is_some()),
        ("title", patch.title.is_some()),
        ("text", patch.text.is_some()),
        ("group_id", patch.group_id.is_some()),
    ]);
    row.shortcut = patch.shortcut.unwrap_or(row.shortcut);
    row.title = patch.title.unwrap_or(row.title);
    row.text = patch.text.unwrap_or(row.text);
    row.group_id = patch.group_id.map_or(row.group_id, |id| id.map(Id));
    things::save(change, &mut row, "changed", &fields).await?;
    things::shown(change, row).await
}
