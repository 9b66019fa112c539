//! Everything but sending: each request is a task of its own, bounded by the connection's requests in flight.

use std::sync::Arc;

use bus_schema::{
    Audience, ErrorBody, ErrorCode, FieldError,
    command::{Answer, Command},
    limits::{PAGE_DEFAULT, PAGE_MAX},
    protocol::{
        Action, CloseThread, Conv, ConversationRef, EventPage, ListConversations, ListEvents, RefreshToken,
        SetStatus, StartThread,
    },
    state::{CloseReason, StartSource},
};
use ops::chat::{self, Initial, PageRequest};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Who, authenticate, login::Session, request, send};
use crate::{conn::Reply, http::profile, socket::Outgoing};

const NORMAL_CLOSURE: u16 = 1000;

#[derive(Serialize)]
struct Nothing {}

/// Begins to carry out a request.
pub fn begin(session: &Arc<Session>, action: Action, reply: Reply, payload: Option<&RawValue>) {
    if !action.who().allows(session.who.role()) {
        return reply.fail(ErrorCode::Forbidden.into());
    }
    let (session, payload) = (session.clone(), payload.map(ToOwned::to_owned));
    let tasks = session.app.tasks.clone();
    tasks.spawn(async move {
        let payload = payload.as_deref();
        match action {
            Action::StartThread => start_thread(&session, reply, payload).await,
            Action::ListEvents => reply.with(list_events(&session, payload).await),
            Action::ListConversations => reply.with(list_conversations(&session, payload).await),
            Action::SetStatus => reply.with(set_status(&session, payload).await),
            Action::Take => reply.with(take(&session, payload).await),
            Action::CloseThread => reply.with(close_thread(&session, payload).await),
            Action::RefreshToken => refresh_token(&session, reply, payload),
            Action::Logout => {
                reply.ok(&Nothing {});
                // The client asked for it: a normal closure.
                let normal = bytes::Bytes::copy_from_slice(&NORMAL_CLOSURE.to_be_bytes());
                session.conn.outbox.push(Outgoing::CloseEcho(normal));
            }
            _ => reply.fail(ErrorBody::field("/action", "this action is not supported yet")),
        }
    });
}

async fn start_thread(session: &Arc<Session>, reply: Reply, payload: Option<&RawValue>) {
    // Answers with a snapshot must not overtake each other.
    let _turn = session.snapshots.lock().await;
    match started(session, payload).await {
        Ok((home, conv)) => {
            reply.ok(&conv);
            session.app.hub.go(home, Audience::All, session.conn.id).await;
        }
        Err(error) => reply.fail(error),
    }
}

async fn started(
    session: &Session,
    payload: Option<&RawValue>,
) -> Result<(bus_schema::subject::ConversationSubjects, Conv), ErrorBody> {
    let Who::Visitor { tenant, visitor, widget } = session.who else {
        return Err(ErrorCode::Forbidden.into());
    };
    let wanted: StartThread = request::payload(payload)?;
    let initial = match &wanted.initial_event {
        None => None,
        Some(event) => {
            let body = send::said(&session.app, session.who, event, "/payload/initial_event")?;
            Some(Initial { client_id: Some(event.client_id.clone()), body })
        }
    };
    let change = profile::of_update(wanted.visitor.unwrap_or_default(), Some(widget), "/payload/visitor")?;
    let start =
        crate::http::start_of(&session.app, tenant, visitor, widget, wanted.group_id, "/payload/group_id")?;
    send::within_rate(session)?;
    let start = chat::Start { profile: change, initial, source: StartSource::Widget, ..start };
    let home = start.home;
    let log = session.app.core.log(home.shard).ok_or(ErrorCode::Unavailable)?;
    chat::start(log, &start).await?;
    let joined = session.app.hub.join(home, Audience::All, &session.conn, session.who.author(), None).await?;
    Ok((home, joined.conv.ok_or(ErrorCode::Unavailable)?))
}

async fn list_events(session: &Session, payload: Option<&RawValue>) -> Result<EventPage, ErrorBody> {
    let wanted: ListEvents = request::payload(payload)?;
    page_of(session.who, &session.app, wanted, "/payload").await
}

/// A page of events for whoever may see them.
pub async fn page_of(
    who: Who,
    app: &crate::app::App,
    wanted: ListEvents,
    at: &str,
) -> Result<EventPage, ErrorBody> {
    let limit = wanted.limit.unwrap_or(PAGE_DEFAULT);
    let mut errors = Vec::new();
    if limit == 0 || limit > PAGE_MAX {
        errors.push(FieldError::new(format!("{at}/limit"), format!("1 to {PAGE_MAX}")));
    }
    if wanted.before_seq.is_some() && wanted.after_seq.is_some() {
        errors.push(FieldError::new(format!("{at}/after_seq"), "not together with before_seq"));
    }
    if !errors.is_empty() {
        return Err(ErrorBody::fields(errors));
    }
    let home = who.home(app, wanted.conversation_id)?;
    let log = app.core.log(home.shard).ok_or(ErrorCode::Unavailable)?;
    let life = chat::life(log, home).await?.ok_or(ErrorCode::NotFound)?;
    who.sender().may_see(&app.core.directory.now(), &life.state)?;
    let (before, after) = (wanted.before_seq, wanted.after_seq);
    let request = PageRequest { home, audience: who.audience(), before, after, limit };
    let page = chat::page(log, &request).await?;
    Ok(EventPage { events: page.events, has_more: page.has_more })
}

#[derive(Serialize)]
struct Conversations {
    conversations: Vec<bus_schema::protocol::ConversationView>,
    next_cursor: Option<String>,
    total: u64,
}

async fn list_conversations(
    session: &Session,
    payload: Option<&RawValue>,
) -> Result<Conversations, ErrorBody> {
    let wanted: ListConversations = request::payload(payload)?;
    if wanted.subscribe {
        return Err(ErrorBody::field("/payload/subscribe", "following a view is not supported yet"));
    }
    let limit = wanted.limit.unwrap_or(PAGE_DEFAULT);
    if limit == 0 || limit > PAGE_MAX {
        return Err(ErrorBody::field("/payload/limit", format!("1 to {PAGE_MAX}")));
    }
    let command = Command::ListConversations {
        view: wanted.view,
        group_id: wanted.group_id,
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
        cursor: wanted.cursor,
    };
    match session.command(command).await? {
        Answer::Conversations { conversations, next_cursor, total, .. } => {
            Ok(Conversations { conversations, next_cursor, total })
        }
        _ => Err(ErrorCode::Internal.into()),
    }
}

async fn set_status(session: &Session, payload: Option<&RawValue>) -> Result<SetStatus, ErrorBody> {
    let wanted: SetStatus = request::payload(payload)?;
    session.ask_status(wanted.status).await?;
    Ok(wanted)
}

async fn take(session: &Session, payload: Option<&RawValue>) -> Result<Nothing, ErrorBody> {
    let ConversationRef { conversation_id, thread_id } = request::payload(payload)?;
    session.who.home(&session.app, conversation_id)?;
    session.command(Command::Take { conversation_id, thread_id }).await?;
    Ok(Nothing {})
}

async fn close_thread(session: &Session, payload: Option<&RawValue>) -> Result<Nothing, ErrorBody> {
    let CloseThread { conversation_id, thread_id } = request::payload(payload)?;
    session.who.home(&session.app, conversation_id)?;
    let reason = match session.who {
        Who::Visitor { .. } => CloseReason::ClosedByVisitor,
        Who::Staff { .. } => CloseReason::ClosedByAgent,
    };
    session.command(Command::Close { conversation_id, thread_id, reason }).await?;
    Ok(Nothing {})
}

#[derive(Serialize)]
struct Refreshed {
    token_expires_at: bus_schema::Timestamp,
}

fn refresh_token(session: &Session, reply: Reply, payload: Option<&RawValue>) {
    let wanted: RefreshToken = match request::payload(payload) {
        Ok(wanted) => wanted,
        Err(error) => return reply.fail(error),
    };
    match authenticate(&session.app, &wanted.token, &session.origin) {
        Ok((who, end)) if same_person(who, session.who) => {
            session.conn.set_token_end(end);
            reply.ok(&Refreshed { token_expires_at: end });
        }
        Ok(_) => reply.fail(ErrorBody::new(ErrorCode::Forbidden, "the token is another person's")),
        Err(denied) => reply.fail(denied.error),
    }
}

/// A new token may come from a new login, and never changes who one is or what one may do.
fn same_person(new: Who, old: Who) -> bool {
    new.tenant() == old.tenant() && new.author() == old.author() && new.role() == old.role()
}
