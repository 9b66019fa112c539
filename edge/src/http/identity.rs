//! Who a site says its visitor is.
//!
//! Invariant: only a token that the widget's own key signed makes a visitor of an external id; without one it is a label.

use std::time::Duration;

use bus_schema::{
    ConversationId, ErrorBody, ErrorCode, FieldError, TenantId, VisitorId, WidgetId,
    command::{Actor, Command},
    protocol::WidgetSession,
    state::CloseReason,
};
use ops::{
    auth::{IdentityError, verify_identity},
    chat::{self, Life},
};

use crate::{app::App, clock};

const AT: &str = "/identity_token";
/// How long a session waits for the end of the thread that its visitor leaves behind.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// The external id that the session's token proves; none: it has no token, and need not have one.
pub fn proved(
    app: &App,
    tenant: TenantId,
    widget: WidgetId,
    wanted: &WidgetSession,
) -> Result<Option<String>, ErrorBody> {
    let index = app.core.directory.now();
    let record = index.widget(tenant, widget).ok_or(ErrorCode::NotFound)?;
    let Some(token) = &wanted.identity_token else {
        return match record.identity_required {
            true => Err(unauthenticated("this widget asks for an identity token")),
            false => Ok(None),
        };
    };
    let Some(key) = &record.identity else {
        return Err(ErrorBody::field(
            AT,
            "this widget has no key that identity tokens could be checked with",
        ));
    };
    let external_id = verify_identity(key, &record.key, token, clock::now()).map_err(refused)?;
    if wanted.external_id.as_ref().is_some_and(|label| *label != external_id) {
        return Err(ErrorBody::field("/external_id", "is not the sub of the identity token"));
    }
    Ok(Some(external_id))
}

fn refused(error: IdentityError) -> ErrorBody {
    match error {
        IdentityError::TooLong => ErrorBody::field(AT, error.to_string()),
        IdentityError::Unusable => {
            tracing::error!("a widget's identity key cannot be read");
            ErrorCode::Internal.into()
        }
        _ => unauthenticated(&error.to_string()),
    }
}

fn unauthenticated(why: &str) -> ErrorBody {
    let mut error = ErrorBody::new(ErrorCode::Unauthenticated, format!("{AT}: {why}"));
    error.errors.push(FieldError::new(AT, why));
    error
}

/// Ends the thread that was begun with the same `visitor_key` before it was known whose it is. Where that fails now, the
/// next session tries again.
pub async fn leave_anonymous(app: &App, tenant: TenantId, anonymous: VisitorId) {
    if let Err(error) = close_open(app, tenant, anonymous).await {
        tracing::warn!(%error, %tenant, "the anonymous thread of an identified visitor is still open");
    }
}

async fn close_open(app: &App, tenant: TenantId, anonymous: VisitorId) -> Result<(), ErrorBody> {
    let conversation_id = ConversationId::of(tenant, anonymous);
    let home = app.core.home(tenant, conversation_id).ok_or(ErrorCode::NotFound)?;
    let log = app.core.log(home.shard).ok_or(ErrorCode::Unavailable)?;
    let Some(life) = chat::life(log, home).await?.filter(Life::is_open) else { return Ok(()) };
    let thread_id = Some(life.state.thread_id);
    let close = Command::Close { conversation_id, thread_id, reason: CloseReason::Identified };
    let request = chat::command(Actor::visitor(anonymous), close);
    match chat::ask(&app.core.bus, home.shard, tenant, &request, LEAVE_WITHIN).await {
        // Somebody else was first.
        Err(error) if error.code == ErrorCode::ThreadClosed => Ok(()),
        done => done.map(drop),
    }
}
