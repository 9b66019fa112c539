//! Making, changing and deleting API tokens.

use axum::extract::State;
use bus_schema::{ApiTokenId, Timestamp};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use http::StatusCode;
use persister::db::{At, Id, schema::config::api_tokens};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{ApiTokenRow, ApiTokenView};
use crate::{
    access::Caller,
    app::App,
    audit_log::Audited,
    auth::secret,
    clock,
    db::{Change, named, taken},
    http::{Body, Check, Checks, IfMatch, PathId, Problem, Tagged, present},
    scope::Scope,
};

/// Of a token, so that one can be told from another.
const HINT_CHARS: usize = 8;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiToken {
    pub name: String,
    /// What it may do; at least one.
    pub scopes: Vec<Scope>,
    /// It counts until then; for ever unless given.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

impl Check for NewApiToken {
    fn check(&self, checks: &mut Checks) {
        checks.name("/name", &self.name);
        check_scopes(checks, &self.scopes);
        check_expiry(checks, self.expires_at);
    }
}

fn check_scopes(checks: &mut Checks, scopes: &[Scope]) {
    checks.that("/scopes", !scopes.is_empty(), "must hold at least one scope");
    for (at, scope) in scopes.iter().enumerate() {
        checks.that(&format!("/scopes/{at}"), !scopes[..at].contains(scope), "is there twice");
    }
}

fn check_expiry(checks: &mut Checks, expires_at: Option<Timestamp>) {
    let later = expires_at.is_none_or(|at| at > clock::now());
    checks.that("/expires_at", later, "must be in the future");
}

/// A token as it is shown once.
#[derive(Debug, Serialize, ToSchema)]
pub struct MadeApiToken {
    /// To be sent as `authorization: Bearer …`; it is never shown again.
    pub token: String,
    #[serde(flatten)]
    pub about: ApiTokenView,
}

pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Body(new): Body<NewApiToken>,
) -> Result<Tagged<MadeApiToken>, Problem> {
    let token = secret::generate(secret::Purpose::ApiToken);
    let mut change = app.change(caller.by()).await?;
    let made = create_in(&mut change, &caller, new, &token).await;
    let row = change.finish(made).await?;
    let place = format!("/v1/api-tokens/{}", row.id.0);
    Ok(Tagged::created(place, row.revision, MadeApiToken { token, about: ApiTokenView::of(row) }))
}

async fn create_in(
    change: &mut Change,
    caller: &Caller,
    new: NewApiToken,
    token: &str,
) -> Result<ApiTokenRow, Problem> {
    let now = At(change.now);
    let row = ApiTokenRow {
        tenant_id: Id(caller.tenant),
        id: Id(ApiTokenId::from_uuid(Uuid::now_v7())),
        name: new.name,
        hash: secret::hash(token),
        hint: token.chars().take(HINT_CHARS).collect(),
        scopes: names(&new.scopes),
        created_by: Id(caller.agent),
        revision: change.revision,
        created_at: now,
        updated_at: now,
        expires_at: new.expires_at.map(At),
        last_used_at: None,
        deleted_at: None,
    };
    let inserted = diesel::insert_into(api_tokens::table).values(row.clone());
    inserted.execute(change.connection()).await.map_err(name_taken)?;
    change.audit("created", Audited::ApiToken, row.id.0.uuid(), &[]).await?;
    Ok(row)
}

fn names(scopes: &[Scope]) -> Vec<String> {
    scopes.iter().map(|scope| scope.name().to_owned()).collect()
}

fn name_taken(error: diesel::result::Error) -> Problem {
    taken(error, "/name", "is another token's name")
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchApiToken {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub scopes: Option<Vec<Scope>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Option<Timestamp>>,
}

impl Check for PatchApiToken {
    fn check(&self, checks: &mut Checks) {
        if let Some(name) = &self.name {
            checks.name("/name", name);
        }
        if let Some(scopes) = &self.scopes {
            check_scopes(checks, scopes);
        }
        check_expiry(checks, self.expires_at.flatten());
    }
}

pub async fn patch(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<ApiTokenId>,
    if_match: IfMatch,
    Body(patch): Body<PatchApiToken>,
) -> Result<Tagged<ApiTokenView>, Problem> {
    let mut change = app.change(caller.by()).await?;
    let done = patch_in(&mut change, id, &if_match, patch).await;
    let row = change.finish(done).await?;
    Ok(Tagged::ok(row.revision, ApiTokenView::of(row)))
}

async fn patch_in(
    change: &mut Change,
    id: ApiTokenId,
    if_match: &IfMatch,
    patch: PatchApiToken,
) -> Result<ApiTokenRow, Problem> {
    let before = find(change, id).await?;
    if_match.check(before.revision)?;
    let fields = named([
        ("name", patch.name.is_some()),
        ("scopes", patch.scopes.is_some()),
        ("expires_at", patch.expires_at.is_some()),
    ]);
    let row = diesel::update(api_tokens::table.find((before.tenant_id, before.id)))
        .set((
            api_tokens::name.eq(patch.name.unwrap_or(before.name)),
            api_tokens::scopes.eq(patch.scopes.map_or(before.scopes, |scopes| names(&scopes))),
            api_tokens::expires_at.eq(patch.expires_at.map_or(before.expires_at, |at| at.map(At))),
            api_tokens::revision.eq(change.revision),
            api_tokens::updated_at.eq(At(change.now)),
        ))
        .returning(ApiTokenRow::as_returning())
        .get_result(change.connection())
        .await
        .map_err(name_taken)?;
    change.audit("changed", Audited::ApiToken, id.uuid(), &fields).await?;
    Ok(row)
}

/// It counts no longer from this moment on.
pub async fn delete(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<ApiTokenId>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let mut change = app.change(caller.by()).await?;
    let done = delete_in(&mut change, id, &if_match).await;
    change.finish(done).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_in(change: &mut Change, id: ApiTokenId, if_match: &IfMatch) -> Result<(), Problem> {
    let row = find(change, id).await?;
    if_match.check(row.revision)?;
    let now = At(change.now);
    diesel::update(api_tokens::table.find((row.tenant_id, row.id)))
        .set((
            api_tokens::deleted_at.eq(now),
            api_tokens::updated_at.eq(now),
            api_tokens::revision.eq(change.revision),
        ))
        .execute(change.connection())
        .await?;
    change.audit("deleted", Audited::ApiToken, id.uuid(), &[]).await
}

async fn find(change: &mut Change, id: ApiTokenId) -> Result<ApiTokenRow, Problem> {
    let found = api_tokens::table
        .find((Id(change.tenant()), Id(id)))
        .filter(api_tokens::deleted_at.is_null())
        .select(ApiTokenRow::as_select())
        .first(change.connection())
        .await;
    found.optional()?.ok_or_else(Problem::not_found)
}
