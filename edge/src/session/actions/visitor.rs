//! What visitors say of themselves and of how it was.

use std::sync::Arc;

use bus_schema::{
    ConversationId, ErrorBody, ErrorCode, FieldError,
    limits::NAME_CHARS_MAX,
    protocol::{Done, Rate, SendAnswer, SetPage, UpdateVisitor, VisitorView},
    signal::Signal,
    state::Page,
    subject::ConversationSubjects,
};
use ops::{
    chat::{self, ProfileChange, Rating, Record},
    log::Log,
};
use serde_json::value::RawValue;

use crate::{
    clock,
    desk::floor::{self, Floors},
    session::{Session, Who, request, send::within_rate},
};

/// The visitor's own conversation, whether or not it has begun.
struct Own<'a> {
    who: Who,
    home: ConversationSubjects,
    log: &'a Log,
}

fn own(session: &Session) -> Result<Own<'_>, ErrorBody> {
    let Who::Visitor { tenant, visitor, .. } = session.who else { return Err(ErrorCode::Forbidden.into()) };
    let home = session.who.home(&session.app, ConversationId::of(tenant, visitor))?;
    let log = session.app.core.log(home.shard).ok_or(ErrorCode::Unavailable)?;
    Ok(Own { who: session.who, home, log })
}

pub async fn update(session: &Arc<Session>, payload: Option<&RawValue>) -> Result<VisitorView, ErrorBody> {
    let wanted: UpdateVisitor = request::payload(payload)?;
    let renamed = wanted.name.is_some();
    let change = chat::profile::of_update(wanted, None, "/payload")?;
    within_rate(session)?;
    let own = own(session)?;
    let Record { record, .. } = written(session, &own, &change).await?;
    if renamed {
        let core = &session.app.core;
        let author = session.who.author();
        let person = core.directory.now().person(own.home.tenant, author, record.name.as_deref());
        core.signal(own.home, &Signal::Person { conversation_id: own.home.conversation, person }).await;
    }
    Ok(VisitorView {
        id: record.visitor_id,
        name: record.name,
        email: record.email,
        custom: Some(record.custom).filter(|custom| !custom.is_empty()),
        online: true,
    })
}

async fn written(session: &Session, own: &Own<'_>, change: &ProfileChange) -> Result<Record, ErrorBody> {
    let Who::Visitor { tenant, visitor, .. } = own.who else { return Err(ErrorCode::Forbidden.into()) };
    let core = &session.app.core;
    let epoch = core.epoch(own.home.shard).ok_or(ErrorCode::Unavailable)?;
    chat::update_visitor(own.log, tenant, visitor, change, epoch, core.incarnation).await
}

/// A visit is presence; with a thread open it is history as well.
pub async fn set_page(session: &Arc<Session>, payload: Option<&RawValue>) -> Result<Done, ErrorBody> {
    let page = page_of(request::payload(payload)?)?;
    within_rate(session)?;
    let own = own(session)?;
    if let Who::Visitor { tenant, visitor, .. } = own.who {
        Floors::ask(&session.app, tenant, floor::Ask::Page { visitor, page: page.clone() }).await?;
    }
    if chat::life(own.log, own.home).await?.is_some_and(|life| life.is_open()) {
        let change = ProfileChange { page: Some(page), ..ProfileChange::default() };
        written(session, &own, &change).await?;
    }
    Ok(Done {})
}

fn page_of(wanted: SetPage) -> Result<Page, ErrorBody> {
    let SetPage { url, title } = wanted;
    chat::web_address(&url, "/payload/url")?;
    let fits = |title: &String| title.chars().count() <= NAME_CHARS_MAX && !title.contains(char::is_control);
    if !title.as_ref().is_none_or(fits) {
        let most = format!("at most {NAME_CHARS_MAX} characters, none of them a control character");
        return Err(ErrorBody::fields(vec![FieldError::new("/payload/title", most)]));
    }
    Ok(Page { url, title })
}

pub async fn rate(session: &Arc<Session>, payload: Option<&RawValue>) -> Result<SendAnswer, ErrorBody> {
    let wanted: Rate = request::payload(payload)?;
    let Who::Visitor { visitor, .. } = session.who else { return Err(ErrorCode::Forbidden.into()) };
    let home = session.who.home(&session.app, wanted.conversation_id)?;
    within_rate(session)?;
    let log = session.app.core.log(home.shard).ok_or(ErrorCode::Unavailable)?;
    let Rate { thread_id, score, comment, .. } = wanted;
    let rating = Rating { home, visitor, thread: thread_id, score, comment };
    let sent = chat::rate(log, &rating, clock::now(), "/payload").await?;
    Ok(SendAnswer { event_id: sent.event_id, seq: sent.seq, duplicate: sent.duplicate })
}
