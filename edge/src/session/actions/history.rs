//! What was said before.

use bus_schema::{
    ErrorBody, ErrorCode, FieldError,
    limits::{PAGE_DEFAULT, PAGE_MAX},
    protocol::{EventPage, ListEvents, ListThreads, ThreadList},
};
use ops::chat::{self, PageRequest};
use serde_json::value::RawValue;

use crate::{
    app::App,
    session::{Who, login::Session, request},
};

pub async fn list_events(session: &Session, payload: Option<&RawValue>) -> Result<EventPage, ErrorBody> {
    let wanted: ListEvents = request::payload(payload)?;
    page_of(session.who, &session.app, wanted, "/payload").await
}

pub async fn list_threads(session: &Session, payload: Option<&RawValue>) -> Result<ThreadList, ErrorBody> {
    let ListThreads { conversation_id } = request::payload(payload)?;
    let home = session.who.home(&session.app, conversation_id)?;
    let core = &session.app.core;
    let log = core.log(home.shard).ok_or(ErrorCode::Unavailable)?;
    let life = chat::life(log, home).await?.ok_or(ErrorCode::NotFound)?;
    session.who.sender().may_see(&core.directory.now(), &life.state)?;
    let found = chat::threads(log, home).await?;
    Ok(ThreadList { threads: found.list.into(), has_more: found.has_more })
}

/// A page of events for whoever may see them.
pub async fn page_of(who: Who, app: &App, wanted: ListEvents, at: &str) -> Result<EventPage, ErrorBody> {
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
