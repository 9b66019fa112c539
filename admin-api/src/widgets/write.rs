//! Making and changing widgets, and giving them a new key.

use axum::{Extension, extract::State};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bus_schema::{ErrorBody, ErrorCode, GroupId, Timestamp, WidgetId, config::IdentityKey, object};
use ops::auth::is_identity_key;
use persister::db::{At, Id};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    WidgetView,
    identity::{fresh, rotated},
};
use crate::{
    access::Caller,
    app::App,
    db::{Change, WidgetRow, named},
    groups::must_exist,
    http::{Body, Check, Checks, IfMatch, PathId, Problem, ShowsSecret, Tagged, present},
    things,
};

const GREETING_CHARS_MAX: usize = 1000;
const THEME_BYTES_MAX: usize = 8 * 1024;
const KEY_PREFIX: &str = "wk_";
const KEY_BYTES: usize = 18;

/// How a site is to prove who its visitor is.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "algorithm", deny_unknown_fields)]
pub enum WantedIdentity {
    /// With a secret that is made, and shown in the answer alone.
    #[schema(max_properties = 1)]
    HS256 {},
    /// With a key of the site's own, of which this is the public half.
    #[schema(max_properties = 2)]
    EdDSA { public_key_pem: String },
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWidget {
    pub name: String,
    /// Origins such as `https://www.example.com`; `*` allows every page.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    #[serde(default)]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub default_group_id: Option<GroupId>,
    #[serde(default)]
    pub greeting: Option<String>,
    #[serde(default)]
    pub locale: Option<String>,
    #[serde(default)]
    pub theme: Map<String, Value>,
    /// `{"algorithm":"HS256"}`, for which a secret is made, or `{"algorithm":"EdDSA","public_key_pem":"…"}`. Not for API
    /// tokens.
    #[serde(default, deserialize_with = "object::or_null")]
    pub identity: Option<WantedIdentity>,
    /// Whether visitors without an identity token are refused.
    #[serde(default)]
    pub identity_required: bool,
}

impl Check for NewWidget {
    fn check(&self, checks: &mut Checks) {
        checks.name("/name", &self.name);
        checks.origins("/allowed_origins", &self.allowed_origins, &["*", "null"]);
        check_rest(
            checks,
            self.greeting.as_ref(),
            self.locale.as_ref(),
            Some(&self.theme),
            self.identity.as_ref(),
        );
        check_required(checks, self.identity_required, self.identity.is_some());
    }
}

fn check_required(checks: &mut Checks, required: bool, there: bool) {
    checks.that("/identity_required", !required || there, "needs an identity key");
}

fn check_rest(
    checks: &mut Checks,
    greeting: Option<&String>,
    locale: Option<&String>,
    theme: Option<&Map<String, Value>>,
    identity: Option<&WantedIdentity>,
) {
    if let Some(greeting) = greeting {
        let count = greeting.chars().count();
        let plain = !greeting.chars().any(|c| c.is_control() && c != '\n');
        let fits = (1..=GREETING_CHARS_MAX).contains(&count) && plain;
        checks.that("/greeting", fits, "must be text of 1 to 1000 characters");
    }
    if let Some(locale) = locale {
        let right = (2..=35).contains(&locale.len())
            && locale.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        checks.that("/locale", right, "must be a language tag such as en or pt-BR");
    }
    if let Some(theme) = theme {
        let json = serde_json::to_string(theme).unwrap_or_default();
        checks.that("/theme", json.len() <= THEME_BYTES_MAX, "must have at most 8 KiB");
        checks.json("/theme", theme.iter().map(|(key, value)| (key.as_str(), value)));
    }
    if let Some(WantedIdentity::EdDSA { public_key_pem: pem }) = identity {
        let right = is_identity_key(pem);
        checks.that("/identity/public_key_pem", right, "must be an Ed25519 public key in PEM");
    }
}

fn new_key() -> String {
    let random: [u8; KEY_BYTES] = rand::random();
    format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(random))
}

fn stored(identity: Option<&IdentityKey>) -> Option<Value> {
    identity.map(|key| serde_json::to_value(key).expect("an identity key holds only strings"))
}

pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Body(new): Body<NewWidget>,
) -> Result<(Option<Extension<ShowsSecret>>, Tagged<WidgetView>), Problem> {
    if new.identity.is_some() {
        // Whoever has the key of identity tokens is each of the tenant's customers: worth more than any scope.
        caller.must_be_a_person()?;
    }
    let mut change = app.change(caller.by()).await?;
    let made = create_in(&mut change, new).await;
    let made = change.finish(made).await?;
    Ok((made.body.identity_secret.is_some().then_some(Extension(ShowsSecret)), made))
}

async fn create_in(change: &mut Change, new: NewWidget) -> Result<Tagged<WidgetView>, Problem> {
    must_exist(change, new.default_group_id.as_slice(), |_| "/default_group_id".to_owned()).await?;
    let identity = new.identity.map(fresh);
    let row = WidgetRow {
        tenant_id: Id(change.tenant()),
        id: Id(WidgetId::from_uuid(Uuid::now_v7())),
        key: new_key(),
        name: new.name,
        allowed_origins: new.allowed_origins,
        default_group_id: new.default_group_id.map(Id),
        greeting: new.greeting,
        locale: new.locale,
        theme: Value::Object(new.theme),
        identity: stored(identity.as_ref()),
        identity_required: new.identity_required,
        revision: change.revision,
        created_at: At(change.now),
        updated_at: At(change.now),
        deleted_at: None,
    };
    let mut made = things::add(change, row).await?;
    made.body.identity_secret = identity.as_ref().and_then(secret_of);
    Ok(made)
}

/// What the site must know to sign.
fn secret_of(key: &IdentityKey) -> Option<String> {
    match key {
        IdentityKey::HS256 { secret, .. } => Some(secret.clone()),
        IdentityKey::EdDSA { .. } => None,
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchWidget {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub allowed_origins: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<uuid::Uuid>)]
    pub default_group_id: Option<Option<GroupId>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub greeting: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub locale: Option<Option<String>>,
    #[serde(default)]
    pub theme: Option<Map<String, Value>>,
    /// The key before it counts no more from then on; `HS256` makes a new secret each time. Not for API tokens.
    #[serde(default, deserialize_with = "object::present")]
    #[schema(value_type = Option<WantedIdentity>)]
    pub identity: Option<Option<WantedIdentity>>,
    #[serde(default)]
    pub identity_required: Option<bool>,
}

impl Check for PatchWidget {
    fn check(&self, checks: &mut Checks) {
        if let Some(name) = &self.name {
            checks.name("/name", name);
        }
        if let Some(origins) = &self.allowed_origins {
            checks.origins("/allowed_origins", origins, &["*", "null"]);
        }
        check_rest(
            checks,
            self.greeting.iter().flatten().next(),
            self.locale.iter().flatten().next(),
            self.theme.as_ref(),
            self.identity.iter().flatten().next(),
        );
    }
}

pub async fn patch(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<WidgetId>,
    if_match: IfMatch,
    Body(patch): Body<PatchWidget>,
) -> Result<Tagged<WidgetView>, Problem> {
    if patch.identity.is_some() {
        caller.must_be_a_person()?;
    }
    let mut change = app.change(caller.by()).await?;
    let done = patch_in(&mut change, id, &if_match, patch).await;
    change.finish(done).await
}

async fn patch_in(
    change: &mut Change,
    id: WidgetId,
    if_match: &IfMatch,
    patch: PatchWidget,
) -> Result<Tagged<WidgetView>, Problem> {
    let mut row: WidgetRow = things::find(change, id).await?;
    if_match.check(row.revision)?;
    let group = patch.default_group_id.flatten();
    must_exist(change, group.as_slice(), |_| "/default_group_id".to_owned()).await?;
    let fields = named([
        ("name", patch.name.is_some()),
        ("allowed_origins", patch.allowed_origins.is_some()),
        ("default_group_id", patch.default_group_id.is_some()),
        ("greeting", patch.greeting.is_some()),
        ("locale", patch.locale.is_some()),
        ("theme", patch.theme.is_some()),
        ("identity", patch.identity.is_some()),
        ("identity_required", patch.identity_required.is_some()),
    ]);
    row.name = patch.name.unwrap_or(row.name);
    row.allowed_origins = patch.allowed_origins.unwrap_or(row.allowed_origins);
    row.default_group_id = patch.default_group_id.map_or(row.default_group_id, |id| id.map(Id));
    row.greeting = patch.greeting.unwrap_or(row.greeting);
    row.locale = patch.locale.unwrap_or(row.locale);
    row.theme = patch.theme.map_or(row.theme, Value::Object);
    let identity = patch.identity.map(|wanted| wanted.map(fresh));
    row.identity = identity.as_ref().map_or(row.identity, |key| stored(key.as_ref()));
    row.identity_required = patch.identity_required.unwrap_or(row.identity_required);
    let mut checks = Checks::default();
    check_required(&mut checks, row.identity_required, row.identity.is_some());
    checks.finish()?;
    things::save(change, &mut row, "changed", &fields).await?;
    let mut shown = things::shown(change, row).await?;
    shown.body.identity_secret = identity.flatten().as_ref().and_then(secret_of);
    Ok(shown)
}

/// Gives the widget a new key; pages with the old one are refused from then on.
pub async fn rotate_key(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<WidgetId>,
) -> Result<Tagged<WidgetView>, Problem> {
    rotate(&app, &caller, id, "key_rotated", |row, _| {
        row.key = new_key();
        Ok(None)
    })
    .await
}

/// Gives the widget a new secret for identity tokens. One that it had counts for another hour, in which the site takes
/// over the new one.
pub async fn rotate_identity_secret(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<WidgetId>,
) -> Result<Tagged<WidgetView>, Problem> {
    rotate(&app, &caller, id, "identity_secret_rotated", |row, now| {
        let own = || {
            let error = "the site signs with a key of its own: it has no secret here";
            ErrorBody::new(ErrorCode::Conflict, error)
        };
        let key = rotated(row.identity()?, now).ok_or_else(own)?;
        row.identity = stored(Some(&key));
        Ok(secret_of(&key))
    })
    .await
}

/// Makes anew what `anew` says, and shows the secret that it gives.
async fn rotate(
    app: &App,
    caller: &Caller,
    id: WidgetId,
    action: &'static str,
    anew: impl FnOnce(&mut WidgetRow, Timestamp) -> Result<Option<String>, Problem>,
) -> Result<Tagged<WidgetView>, Problem> {
    let mut change = app.change(caller.by()).await?;
    let done = async {
        let mut row: WidgetRow = things::find(&mut change, id).await?;
        let identity_secret = anew(&mut row, change.now)?;
        things::save(&mut change, &mut row, action, &[]).await?;
        let mut shown = things::shown(&mut change, row).await?;
        shown.body.identity_secret = identity_secret;
        Ok(shown)
    }
    .await;
    change.finish(done).await
}
