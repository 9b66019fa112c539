//! A conversation over HTTP, for the holder of a token: the visitor their own, staff what they may see.

use std::sync::Arc;

use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, Query, State},
};
use bus_schema::{
    Audience, ConversationId, ErrorBody, ErrorCode, Lane,
    protocol::{Conv, EventPage, ListEvents, RateBody, SendAnswer},
};
use ops::chat::{self, Rating};

use super::Problem;
use crate::{
    admission::Want,
    app::App,
    clock,
    hub::Place,
    hub::load::{self, Wish},
    session::{Who, body, page_of},
};

/// `GET /v1/conversations/{id}`.
pub async fn get(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Extension(who): Extension<Who>,
) -> Result<Json<Conv>, Problem> {
    let id = conversation_id(&id)?;
    let found = conversation(&app, who, id).await?;
    Ok(Json(found.ok_or(ErrorCode::NotFound)?))
}

/// `GET /v1/conversations/{id}/events`.
pub async fn events(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Extension(who): Extension<Who>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<EventPage>, Problem> {
    let mut wanted =
        ListEvents { conversation_id: conversation_id(&id)?, before_seq: None, after_seq: None, limit: None };
    for (name, value) in &query {
        let wrong = |why| Problem::malformed(ErrorBody::field(format!("/{name}"), why));
        let number: u64 = value.parse().map_err(|_| wrong("expected a number"))?;
        let again = match name.as_str() {
            "before_seq" => wanted.before_seq.replace(number).is_some(),
            "after_seq" => wanted.after_seq.replace(number).is_some(),
            "limit" => wanted.limit.replace(usize::try_from(number).unwrap_or(usize::MAX)).is_some(),
            _ => return Err(wrong("unknown parameter")),
        };
        if again {
            return Err(wrong("given twice"));
        }
    }
    Ok(Json(page_of(who, &app, wanted, "").await?))
}

/// `PUT /v1/conversations/{id}/rate`.
pub async fn rate(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Extension(who): Extension<Who>,
    bytes: Bytes,
) -> Result<Json<SendAnswer>, Problem> {
    let Who::Visitor { tenant, visitor, .. } = who else { return Err(ErrorCode::Forbidden.into()) };
    let home = who.home(&app, conversation_id(&id)?)?;
    let RateBody { score, comment, thread_id } = body(&bytes, "").map_err(Problem::malformed)?;
    app.admission.store(home.shard, tenant, Want::Event { bytes: bytes.len() })?;
    let log = app.core.log(home.shard).ok_or(ErrorCode::Unavailable)?;
    let rating = Rating { home, visitor, thread: thread_id, score, comment };
    let sent = chat::rate(log, &rating, clock::now(), "").await?;
    Ok(Json(SendAnswer { event_id: sent.event_id, seq: sent.seq, duplicate: sent.duplicate }))
}

/// The conversation as `who` sees it; none: it has not begun.
pub async fn conversation(app: &App, who: Who, id: ConversationId) -> Result<Option<Conv>, ErrorBody> {
    let home = who.home(app, id)?;
    let audience = who.audience();
    let log = app.core.log(home.shard).ok_or(ErrorCode::Unavailable)?;
    let tail = chat::tail(log, home, audience).await?;
    let Some(life) = tail.life.clone() else { return Ok(None) };
    who.sender().may_see(&app.core.directory.now(), &life.state)?;
    let position = position(audience, tail.end());
    let viewer = who.author();
    let place = Place { home, audience };
    let visitor_online = app.core.floors.is_online(home.tenant, life.state.visitor_id);
    let reader = Some(viewer);
    let (resume, ends, queue) = (None, None, None);
    let wish = Wish { place, life, position, ends, viewer, reader, resume, visitor_online, queue };
    let load::Content { mut conv, tally, .. } = load::content(&app.core, log, &wish).await?;
    let principal = bus_schema::cursor::Cursor::principal(viewer);
    conv.cursor = Some(app.core.cursor(home, audience, principal, position, tally));
    Ok(Some(conv))
}

fn position(audience: Audience, end: u64) -> [u64; Lane::ALL.len()] {
    let mut position = [0; Lane::ALL.len()];
    for lane in audience.lanes() {
        position[lane.index()] = end;
    }
    position
}

pub(super) fn conversation_id(text: &str) -> Result<ConversationId, Problem> {
    // What is no id names nothing.
    text.parse().map_err(|_| ErrorCode::NotFound.into())
}
