//! The widget's two public calls: its configuration, and a session for its visitor.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::HeaderMap,
};
use base64::{
    Engine as _,
    engine::{GeneralPurpose, GeneralPurposeConfig, general_purpose::URL_SAFE_NO_PAD},
};
use bus_schema::{
    Body, ConversationId, ErrorBody, ErrorCode, GroupId, TenantId, Timestamp, VisitorId, WidgetId,
    close::CloseCode,
    event::Message,
    limits::VISITOR_KEY_BYTES,
    protocol::{
        GroupStatus, PreChat, VisitorView, WidgetConfig, WidgetGroup, WidgetSession, WidgetSessionAnswer,
    },
};
use ops::{
    auth::{VisitorGrant, mint_visitor},
    chat::{self, Initial, ProfileChange, Record, TextLimit},
};
use serde_json::value::to_raw_value;

use super::{Problem, conversations::conversation, identity, start_of};
use crate::{
    admission::{Caller, Want},
    app::App,
    clock,
    directory::Origin,
    session::{Who, body},
    standing,
};

/// With or without padding, and nothing but the alphabet.
const VISITOR_KEY: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
);

/// `POST /v1/widget/session`.
pub async fn session(
    State(app): State<Arc<App>>,
    caller: Caller,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<WidgetSessionAnswer>, Problem> {
    app.admission.sessions_of_address.take_known(caller.peer)?;
    let wanted: WidgetSession = body(&bytes, "").map_err(Problem::malformed)?;
    let (tenant, widget) = widget_of(&app, &wanted.widget_key, &headers)?;
    app.admission.sessions_of_widget.take(widget)?;
    let key = visitor_key(&wanted.visitor_key)?;
    let proved = identity::proved(&app, tenant, widget, &wanted)?;
    let anonymous = VisitorId::from_key(tenant, &key);
    let visitor = proved.as_ref().map_or(anonymous, |id| VisitorId::from_external(tenant, id));
    let change = chat::profile::of_session(&wanted, proved.as_deref(), widget)?;
    let initial = initial(&app, &wanted)?;
    let start = start_of(&app, tenant, visitor, widget, wanted.group_id, "/group_id")?;
    let log = app.core.log(start.home.shard).ok_or(ErrorCode::Unavailable)?;
    if visitor != anonymous {
        // First, so that what is said now finds the agent free who is left there.
        identity::leave_anonymous(&app, tenant, anonymous).await;
    }
    let record = match initial {
        Some(initial) => {
            app.admission.store(start.home.shard, tenant, Want::Start { bytes: bytes.len() })?;
            let start = chat::Start { profile: change, initial: Some(initial), ..start.clone() };
            chat::start(log, &start).await?.record
        }
        None => told(&app, tenant, visitor, &change).await?,
    };
    refuse_barred(&record)?;
    let grant = VisitorGrant { visitor, tenant, widget };
    let minted = mint_visitor(&app.signing, grant, clock::now());
    let who = Who::Visitor { tenant, visitor, widget };
    let conversation = conversation(&app, who, ConversationId::of(tenant, visitor)).await?;
    let record = record.record;
    Ok(Json(WidgetSessionAnswer {
        visitor: VisitorView {
            id: visitor,
            name: record.name,
            email: record.email,
            custom: Some(record.custom).filter(|custom| !custom.is_empty()),
            online: true,
        },
        token: minted.token,
        token_expires_at: minted.expires_at,
        conversation,
        ws_url: app.ws_url.clone(),
    }))
}

/// The widget with this key, if the page may use it.
fn widget_of(app: &App, key: &str, headers: &HeaderMap) -> Result<(TenantId, WidgetId), ErrorBody> {
    let index = app.core.directory.now();
    let missing = || ErrorBody::new(ErrorCode::NotFound, "there is no widget with this key");
    let (widget, _) = index.widget_by_key(key).ok_or_else(missing)?;
    let origin = Origin::of(headers);
    if !origin.is_in(&widget.allowed_origins) && !origin.is_in(&app.open_origins) {
        return Err(ErrorCode::OriginNotAllowed.into());
    }
    Ok((widget.tenant_id, widget.widget_id))
}

fn visitor_key(text: &str) -> Result<Vec<u8>, ErrorBody> {
    let wrong = || {
        let expected = format!("expected {VISITOR_KEY_BYTES} random bytes in base64url");
        ErrorBody::field("/visitor_key", expected)
    };
    let key = VISITOR_KEY.decode(text).map_err(|_| wrong())?;
    // The same bytes written in two ways are the same visitor.
    let canonical = URL_SAFE_NO_PAD.encode(&key);
    if key.len() != VISITOR_KEY_BYTES || canonical != text.trim_end_matches('=') {
        return Err(wrong());
    }
    Ok(key)
}

fn initial(app: &App, wanted: &WidgetSession) -> Result<Option<Initial>, ErrorBody> {
    let Some(text) = &wanted.initial_message else {
        return match &wanted.initial_client_id {
            None => Ok(None),
            Some(_) => Err(ErrorBody::field("/initial_client_id", "only together with initial_message")),
        };
    };
    let data = to_raw_value(&Message { text: text.clone(), quick_replies: Vec::new() })
        .map_err(|_| ErrorCode::Internal)?;
    let limit = TextLimit(usize::try_from(app.core.limits.text_bytes).unwrap_or(0));
    let body: Body =
        chat::content(bus_schema::event::Kind::Message, &data, limit, "").map_err(|mut error| {
            for field in &mut error.errors {
                field.pointer = "/initial_message".to_owned();
            }
            error
        })?;
    Ok(Some(Initial { client_id: wanted.initial_client_id.clone(), body }))
}

/// Writes what the page says of the visitor; a mere visit writes nothing.
async fn told(
    app: &App,
    tenant: TenantId,
    visitor: VisitorId,
    change: &ProfileChange,
) -> Result<Record, ErrorBody> {
    let home = app.core.home(tenant, ConversationId::NIL).ok_or(ErrorCode::NotFound)?;
    let log = app.core.log(home.shard).ok_or(ErrorCode::Unavailable)?;
    let record = chat::record(log, tenant, visitor).await?;
    refuse_barred(&record)?;
    let says = change.name.is_some()
        || change.email.is_some()
        || change.custom.is_some()
        || change.external_id.is_some();
    if !says {
        return Ok(record);
    }
    app.admission.store(home.shard, tenant, Want::Event { bytes: 0 })?;
    let epoch = app.core.epoch(home.shard).ok_or(ErrorCode::Unavailable)?;
    chat::update_visitor(log, tenant, visitor, change, epoch, app.core.incarnation).await
}

/// Whether a token that is made now would count.
fn refuse_barred(record: &Record) -> Result<(), ErrorBody> {
    let now = clock::now();
    match standing::barred_by(&record.record, token_time(now), now) {
        None => Ok(()),
        Some(CloseCode::Banned) => Err(ErrorCode::Banned.into()),
        // Tokens count seconds: the next second's is younger than the erasure.
        Some(_) => {
            let error = ErrorBody::new(ErrorCode::Unavailable, "the visitor is being erased");
            Err(error.after(Duration::from_secs(1)))
        }
    }
}

/// When a token that is made at `now` says that it was made.
fn token_time(now: Timestamp) -> Timestamp {
    Timestamp::from_millis(now.millis() - now.millis().rem_euclid(1_000))
}

/// `GET /v1/widget/config/{widget_key}`.
pub async fn config(
    State(app): State<Arc<App>>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Result<Json<WidgetConfig>, Problem> {
    let (tenant, id) = widget_of(&app, &key, &headers)?;
    let shard = app.core.directory.now().tenant(tenant).map(|tenant| tenant.shard);
    let statuses = app.core.floors.groups.of(&app.core.bus, shard.ok_or(ErrorCode::NotFound)?, tenant).await;
    let status = |group: &GroupId| statuses.get(group).copied().unwrap_or(GroupStatus::Queue);
    let index = app.core.directory.now();
    let widget = index.widget(tenant, id).ok_or(ErrorCode::NotFound)?;
    let mut groups: Vec<WidgetGroup> = index
        .groups_of_tenant(tenant)
        .map(|group| WidgetGroup {
            id: group.group_id,
            name: group.name.clone(),
            status: status(&group.group_id),
        })
        .collect();
    groups.sort_by(|a, b| a.name.cmp(&b.name).then(a.id.cmp(&b.id)));
    Ok(Json(WidgetConfig {
        name: widget.name.clone(),
        theme: widget.theme.clone(),
        greeting: widget.greeting.clone(),
        pre_chat: PreChat { fields: Vec::new() },
        groups,
        locale: widget.locale.clone(),
        limits: app.core.limits,
        ws_url: app.ws_url.clone(),
        identity_required: widget.identity_required,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visitor_key_is_exactly_32_bytes_in_one_spelling() {
        let key = URL_SAFE_NO_PAD.encode([7; 32]);
        assert_eq!(visitor_key(&key).unwrap(), [7; 32]);
        assert_eq!(visitor_key(&format!("{key}=")).unwrap(), [7; 32]);
        for bad in ["", "short", &URL_SAFE_NO_PAD.encode([7; 31]), &URL_SAFE_NO_PAD.encode([7; 33]), "a+/b"] {
            assert_eq!(visitor_key(bad).unwrap_err().errors[0].pointer, "/visitor_key", "{bad}");
        }
        // The last character carries four bits that mean nothing.
        let twin = format!("{}d", &key[..42]);
        assert!(visitor_key(&twin).is_err() || twin == key);
    }
}
