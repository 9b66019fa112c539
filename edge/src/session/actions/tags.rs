//! Tags of a thread, which are notes: who may see the conversation may set them.

use std::sync::Arc;

use bus_schema::{
    Body, ClientId, ErrorBody, ErrorCode, Visibility,
    event::{Tagged, Untagged},
    protocol::{Done, TagRef},
};
use ops::chat::{self, Draft};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::{
    conn::Reply,
    hub::{SendJob, Stored},
    session::{Session, request, send::within_rate},
};

/// Sets a tag, or takes it away. One that is as it should be is left alone.
pub async fn tag(session: &Arc<Session>, reply: Reply, on: bool, payload: Option<&RawValue>) {
    let draft = match draft(session, on, payload).await {
        Ok(Some(draft)) => draft,
        Ok(None) => return reply.ok(&Done {}),
        Err(error) => return reply.fail(error),
    };
    let (sender, at, answer) = (session.who.sender(), Instant::now(), Stored::Done);
    let bytes = payload.map_or(0, |payload| payload.get().len());
    session.app.hub.send(SendJob { reply, draft, bytes, sender, at, answer });
}

async fn draft(session: &Session, on: bool, payload: Option<&RawValue>) -> Result<Option<Draft>, ErrorBody> {
    let TagRef { conversation_id, thread_id, tag_id } = request::payload(payload)?;
    let home = session.who.home(&session.app, conversation_id)?;
    within_rate(session)?;
    let core = &session.app.core;
    let log = core.log(home.shard).ok_or(ErrorCode::Unavailable)?;
    let life = chat::life(log, home).await?.ok_or(ErrorCode::NotFound)?;
    session.who.sender().may_see(&core.directory.now(), &life.state)?;
    if thread_id.is_some_and(|thread| thread != life.state.thread_id) {
        return Err(ErrorBody::new(ErrorCode::Conflict, "another thread is open or the last now")
            .with("thread_id", life.state.thread_id.to_string()));
    }
    // A tag that was removed since can still be taken away.
    if on && core.directory.now().tag(home.tenant, tag_id).is_none() {
        return Err(ErrorBody::field("/payload/tag_id", "there is no such tag"));
    }
    if chat::tags(log, home, &life).await?.contains(&tag_id) == on {
        return Ok(None);
    }
    let body = if on { Body::Tagged(Tagged { tag_id }) } else { Body::Untagged(Untagged { tag_id }) };
    let client_id = ClientId::new(format!("tag-{}", uuid::Uuid::now_v7()));
    Ok(Some(Draft {
        home,
        author: session.who.author(),
        client_id: client_id.expect("40 characters of the alphabet"),
        visibility: Visibility::Agents,
        body,
        thread: Some(life.state.thread_id),
        retry: false,
        cause: None,
    }))
}
