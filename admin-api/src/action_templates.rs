//! Action templates: forms that agents send and visitors fill in.

use axum::extract::State;
use bus_schema::{ActionTemplateId, event::Kind, openapi::FormField};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use ops::chat::{self, TextLimit};
use persister::db::{At, Id, schema::config::action_templates};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::to_raw_value};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    access::Caller,
    app::App,
    db::{ActionTemplateRow, Change, Times, named},
    http::{Body, Check, Checks, IfMatch, PathId, Problem, Tagged, present},
    things::{self, Thing, thing},
};

const DESCRIPTION_CHARS: std::ops::RangeInclusive<usize> = 1..=1000;

#[derive(Debug, Serialize, ToSchema)]
pub struct ActionTemplateView {
    /// A form that is made of it names it as `template_id`.
    #[schema(value_type = uuid::Uuid)]
    pub id: ActionTemplateId,
    pub name: String,
    pub description: Option<String>,
    /// As in the `data` of an event `form`.
    #[schema(value_type = Vec<FormField>)]
    pub fields: Value,
    #[serde(flatten)]
    pub times: Times,
}

impl Thing for ActionTemplateRow {
    type View = ActionTemplateView;

    thing!(
        ActionTemplateRow,
        action_templates,
        ActionTemplateId,
        ActionTemplate,
        "/v1/action-templates",
        "/name",
        "another action template has this name"
    );

    async fn views(
        _: &mut AsyncPgConnection,
        _: bus_schema::TenantId,
        rows: Vec<Self>,
    ) -> Result<Vec<ActionTemplateView>, Problem> {
        let view = |row: ActionTemplateRow| ActionTemplateView {
            id: row.id.0,
            name: row.name,
            description: row.description,
            fields: row.fields,
            times: Times::of(row.created_at, row.updated_at, row.deleted_at),
        };
        Ok(rows.into_iter().map(view).collect())
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewActionTemplate {
    pub name: String,
    #[serde(default)]
    pub description: Option<String>,
    /// As in the `data` of an event `form`.
    #[schema(value_type = Vec<FormField>)]
    pub fields: Value,
}

/// What could not be sent as a form is no template of one.
fn check_fields(checks: &mut Checks, fields: &Value) {
    let form = to_raw_value(&json!({ "template_id": "x", "fields": fields })).expect("a value is JSON");
    if let Err(error) = chat::content(Kind::Form, &form, TextLimit(0), "") {
        for field in error.errors {
            let pointer = if field.pointer.is_empty() { "/fields" } else { &field.pointer };
            checks.wrong(pointer, field.message);
        }
    }
    checks.json("/fields", [("", fields)]);
}

impl Check for NewActionTemplate {
    fn check(&self, checks: &mut Checks) {
        checks.name("/name", &self.name);
        if let Some(description) = &self.description {
            checks.text("/description", description, DESCRIPTION_CHARS);
        }
        check_fields(checks, &self.fields);
    }
}

pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Body(new): Body<NewActionTemplate>,
) -> Result<Tagged<ActionTemplateView>, Problem> {
    let mut change = app.change(caller.by()).await?;
    let row = ActionTemplateRow {
        tenant_id: Id(change.tenant()),
        id: Id(ActionTemplateId::from_uuid(Uuid::now_v7())),
        name: new.name,
        description: new.description,
        fields: new.fields,
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
pub struct PatchActionTemplate {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub description: Option<Option<String>>,
    #[serde(default)]
    #[schema(value_type = Option<Vec<FormField>>)]
    pub fields: Option<Value>,
}

impl Check for PatchActionTemplate {
    fn check(&self, checks: &mut Checks) {
        if let Some(name) = &self.name {
            checks.name("/name", name);
        }
        if let Some(description) = self.description.iter().flatten().next() {
            checks.text("/description", description, DESCRIPTION_CHARS);
        }
        if let Some(fields) = &self.fields {
            check_fields(checks, fields);
        }
    }
}

pub async fn patch(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<ActionTemplateId>,
    if_match: IfMatch,
    Body(patch): Body<PatchActionTemplate>,
) -> Result<Tagged<ActionTemplateView>, Problem> {
    let mut change = app.change(caller.by()).await?;
    let done = patch_in(&mut change, id, &if_match, patch).await;
    change.finish(done).await
}

async fn patch_in(
    change: &mut Change,
    id: ActionTemplateId,
    if_match: &IfMatch,
    patch: PatchActionTemplate,
) -> Result<Tagged<ActionTemplateView>, Problem> {
    let mut row: ActionTemplateRow = things::find(change, id).await?;
    if_match.check(row.revision)?;
    let fields = named([
        ("name", patch.name.is_some()),
        ("description", patch.description.is_some()),
        ("fields", patch.fields.is_some()),
    ]);
    row.name = patch.name.unwrap_or(row.name);
    row.description = patch.description.unwrap_or(row.description);
    row.fields = patch.fields.unwrap_or(row.fields);
    things::save(change, &mut row, "changed", &fields).await?;
    things::shown(change, row).await
}
