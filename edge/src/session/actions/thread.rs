//! A thread's beginning and end, as its people ask for them.

use std::sync::Arc;

use bus_schema::{
    Audience, Body, ErrorBody, ErrorCode, Visibility,
    command::Command,
    protocol::{CloseThread, Conv, Done, StartThread},
    state::{CloseReason, StartSource},
    subject::ConversationSubjects,
};
use ops::{
    chat::{self, Draft, Initial},
    files::Claim,
    log::Log,
};
use serde_json::value::RawValue;

use crate::{
    admission::Want,
    clock,
    conn::Reply,
    desk, http,
    session::{Who, login::Session, request, send},
};

pub async fn start(session: &Arc<Session>, reply: Reply, payload: Option<&RawValue>) {
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
) -> Result<(ConversationSubjects, Conv), ErrorBody> {
    let Who::Visitor { tenant, visitor, widget } = session.who else {
        return Err(ErrorCode::Forbidden.into());
    };
    let wanted: StartThread = request::payload(payload)?;
    let initial = match &wanted.initial_event {
        None => None,
        Some(event) => {
            let body = send::first_said(&session.app, session.who, event, "/payload/initial_event")?;
            Some(Initial { client_id: Some(event.client_id.clone()), body })
        }
    };
    let change =
        chat::profile::of_update(wanted.visitor.unwrap_or_default(), Some(widget), "/payload/visitor")?;
    let start = http::start_of(&session.app, tenant, visitor, widget, wanted.group_id, "/payload/group_id")?;
    let bytes = payload.map_or(0, |payload| payload.get().len());
    send::may_store(session, Want::Start { bytes })?;
    let mut start = chat::Start { profile: change, initial, source: StartSource::Widget, ..start };
    let home = start.home;
    let log = session.app.core.log(home.shard).ok_or(ErrorCode::Unavailable)?;
    let claim = first_file(session, log, &mut start).await?;
    let outcome = chat::start(log, &start).await;
    if let Some(claim) = claim {
        session.app.core.files.claimed(claim, &outcome).await;
    }
    outcome?;
    let joined =
        session.app.hub.join(home, Audience::All, &session.conn, session.who.author(), None, None).await?;
    Ok((home, joined.conv.ok_or(ErrorCode::Unavailable)?))
}

/// The file that a thread begins with, claimed for its first event.
async fn first_file(
    session: &Session,
    log: &Log,
    start: &mut chat::Start,
) -> Result<Option<Claim>, ErrorBody> {
    let Some(Initial { client_id: Some(client_id), body }) = &mut start.initial else { return Ok(None) };
    let Body::File(wanted) = &*body else { return Ok(None) };
    let draft = Draft {
        home: start.home,
        author: session.who.author(),
        client_id: client_id.clone(),
        visibility: Visibility::All,
        body: body.clone(),
        thread: None,
        retry: false,
        cause: None,
    };
    let at = "/payload/initial_event/data";
    let claim = session.app.core.files.claim(log, &draft, wanted, clock::now(), at).await?;
    *body = Body::File(claim.file.clone());
    Ok(Some(claim))
}

pub async fn close(session: &Session, payload: Option<&RawValue>) -> Result<Done, ErrorBody> {
    let CloseThread { conversation_id, thread_id } = request::payload(payload)?;
    // For visitors it is enough that it is theirs.
    let reason = match session.who {
        Who::Visitor { .. } => {
            session.who.home(&session.app, conversation_id)?;
            CloseReason::ClosedByVisitor
        }
        Who::Staff { .. } => {
            desk::seen(session, conversation_id).await?;
            CloseReason::ClosedByAgent
        }
    };
    session.command(Command::Close { conversation_id, thread_id, reason }).await?;
    Ok(Done {})
}
