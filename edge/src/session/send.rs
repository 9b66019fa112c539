//! `send_event`: checked here, stored by the conversation's worker.

use std::sync::Arc;

use bus_schema::{
    Body, ErrorBody, ErrorCode, Visibility,
    claims::Role,
    event::Kind,
    protocol::{SendBody, SendEvent},
};
use ops::chat::{self, Draft, TextLimit};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Who, login::Session, request};
use crate::{
    admission::Want,
    app::App,
    conn::Reply,
    hub::{SendJob, Stored},
    limits::or_unbounded,
    metrics::Limit,
};

/// Checks a send and hands it on; the answer comes when it is stored.
pub fn send_event(session: &Arc<Session>, reply: Reply, payload: Option<&RawValue>) {
    let mut draft = match draft(session, payload) {
        Ok(draft) => draft,
        Err(error) => return reply.fail(error),
    };
    session.app.core.turned_away.begin(&mut draft);
    let bytes = payload.map_or(0, |payload| payload.get().len());
    if let Err(error) = may_store(session, Want::Event { bytes }) {
        session.app.core.turned_away.add(&draft);
        return reply.fail(error);
    }
    let (sender, at, answer) = (session.who.sender(), Instant::now(), Stored::Event);
    session.app.hub.send(SendJob { reply, draft, bytes, sender, at, answer });
}

/// Counts a small event that the connection wants to have stored.
pub fn within_rate(session: &Session) -> Result<(), ErrorBody> {
    may_store(session, Want::Event { bytes: 0 })
}

/// Whether the connection may have this stored now, and the tenant, and whether there is room for it.
pub fn may_store(session: &Session, what: Want) -> Result<(), ErrorBody> {
    if let Some(Err(not_until)) = session.events.as_ref().map(|limiter| limiter.check()) {
        session.app.core.measures.limited(Limit::ConnectionEvents);
        let now = governor::clock::Clock::now(&governor::clock::DefaultClock::default());
        return Err(ErrorBody::from(ErrorCode::RateLimited).after(not_until.wait_time_from(now)));
    }
    has_room(session, what)
}

/// Whether there is room in the log, and in what the tenant may store in a second.
pub fn has_room(session: &Session, what: Want) -> Result<(), ErrorBody> {
    let tenant = session.who.tenant();
    let shard = session.app.core.directory.now().tenant(tenant).map(|tenant| tenant.shard);
    session.app.admission.store(shard.ok_or(ErrorCode::NotFound)?, tenant, what)
}

fn draft(session: &Session, payload: Option<&RawValue>) -> Result<Draft, ErrorBody> {
    let send: SendEvent = request::payload(payload)?;
    let home = session.who.home(&session.app, send.conversation_id)?;
    let body = said(&session.app, session.who, &send.event, "/payload/event")?;
    Ok(Draft {
        home,
        author: session.who.author(),
        client_id: send.event.client_id,
        visibility: send.event.visibility,
        body,
        thread: send.thread_id,
        retry: send.retry,
        cause: None,
    })
}

/// Checks what somebody says: kind, visibility and content. Pointers begin with `at`.
pub fn said(app: &App, who: Who, event: &SendBody, at: &str) -> Result<Body, ErrorBody> {
    let kind_at = format!("{at}/kind");
    let kind = Kind::parse(&event.kind).ok_or_else(|| ErrorBody::field(&kind_at, "there is no such kind"))?;
    let staff = matches!(who, Who::Staff { .. });
    match kind {
        Kind::Message | Kind::File | Kind::FormFilled | Kind::MessageEdited | Kind::MessageDeleted => {}
        Kind::RichMessage | Kind::Form if staff => {}
        Kind::RichMessage | Kind::Form => {
            return Err(ErrorBody::field(&kind_at, "only agents send this kind"));
        }
        _ => return Err(ErrorBody::field(&kind_at, "this kind is not sent by people")),
    }
    if event.visibility == Visibility::Agents && !staff {
        return Err(ErrorBody::field(format!("{at}/visibility"), "visitors write for all"));
    }
    let limit = TextLimit(match or_unbounded(app.core.limits.text_bytes) {
        usize::MAX => 0,
        bytes => bytes,
    });
    let data = format!("{at}/data");
    let body = chat::content(kind, &event.data, limit, &data)?;
    match &body {
        Body::MessageDeleted(delete) if delete.purge && who.role() < Some(Role::Supervisor) => {
            Err(ErrorBody::new(ErrorCode::Forbidden, "only supervisors remove the bytes"))
        }
        _ => Ok(body),
    }
}

/// Checks what a thread begins with: something said anew.
pub fn first_said(app: &App, who: Who, event: &SendBody, at: &str) -> Result<Body, ErrorBody> {
    match said(app, who, event, at)? {
        body @ (Body::Message(_) | Body::File(_)) => Ok(body),
        _ => Err(ErrorBody::field(format!("{at}/kind"), "a thread begins with a message or a file")),
    }
}
