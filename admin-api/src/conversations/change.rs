//! `PATCH, DELETE /v1/events/{id}`: new events that change how an earlier one is shown; what was stored stays.

use axum::{Json, extract::State};
use bus_schema::{
    Body as EventBody, ClientId, ConversationId, ErrorBody, ErrorCode, EventId, ThreadId, Visibility,
    claims::Role,
    event::{MessageDeleted, MessageEdited},
};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use http::HeaderMap;
use ops::chat::{self, Draft, Referred, Right};
use persister::db::{Id, schema::chat::events};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    events::lanes,
    get::visible,
    scope::Current,
    send::{Sent, authorise, client_id},
};
use crate::{
    access::Caller,
    app::App,
    clock,
    http::{Body, Check, Checks, PathId, Problem, Query},
};

/// Where an event is.
pub(super) struct Place {
    pub conversation: ConversationId,
    pub seq: u64,
    visibility: Visibility,
}

/// An event of a conversation that the caller may see.
pub(super) async fn place_of(app: &App, caller: &Caller, event: EventId) -> Result<Place, Problem> {
    let mut within = app.within(caller.tenant).await?;
    let found: Option<(Option<Id<ConversationId>>, i64, String)> = events::table
        .filter(events::tenant_id.eq(Id(caller.tenant)).and(events::id.eq(Id(event))))
        .select((events::conversation_id, events::seq, events::lane))
        .first(&mut within)
        .await
        .optional()?;
    let (conversation, seq, lane) = found.ok_or_else(Problem::not_found)?;
    let conversation = conversation.ok_or_else(Problem::not_found)?.0;
    visible(&mut within, caller, conversation).await?;
    let note = lane == lanes::NOTE;
    let visibility = if note { Visibility::Agents } else { Visibility::All };
    Ok(Place { conversation, seq: seq.unsigned_abs(), visibility })
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditEvent {
    /// The new text.
    pub text: String,
}

impl Check for EditEvent {
    fn check(&self, checks: &mut Checks) {
        checks.that("/text", !self.text.trim().is_empty(), "must not be empty");
        checks.that("/text", !self.text.contains('\0'), "must not hold the character U+0000");
    }
}

pub async fn edit_event(
    State(app): State<App>,
    caller: Caller,
    PathId(event): PathId<EventId>,
    headers: HeaderMap,
    Body(body): Body<EditEvent>,
) -> Result<Json<Sent>, Problem> {
    if app.text_max > 0 && body.text.len() > app.text_max {
        return Err(Problem::new(ErrorCode::TooLarge, format!("at most {} bytes of UTF-8", app.text_max)));
    }
    let client_id = client_id(&headers, &["edit", &event.to_string(), &body.text])?;
    let edit = EventBody::MessageEdited(MessageEdited { target_id: event, text: body.text });
    change(&app, &caller, event, edit, client_id).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteQuery {
    /// A file's bytes go as well.
    #[serde(default)]
    purge: bool,
}

pub async fn delete_event(
    State(app): State<App>,
    caller: Caller,
    PathId(event): PathId<EventId>,
    Query(DeleteQuery { purge }): Query<DeleteQuery>,
    headers: HeaderMap,
) -> Result<Json<Sent>, Problem> {
    if purge && caller.role < Role::Supervisor {
        return Err(Problem::new(ErrorCode::Forbidden, "only supervisors remove the bytes"));
    }
    if purge {
        caller.must_be_a_person()?;
    }
    let delete = EventBody::MessageDeleted(MessageDeleted { target_id: event, purge });
    let client_id = client_id(&headers, &["delete", &event.to_string(), if purge { "purge" } else { "" }])?;
    change(&app, &caller, event, delete, client_id).await
}

async fn change(
    app: &App,
    caller: &Caller,
    event: EventId,
    body: EventBody,
    client_id: ClientId,
) -> Result<Json<Sent>, Problem> {
    let place = place_of(app, caller, event).await?;
    let Current { log, home, life } = Current::read(app, caller, place.conversation).await?;
    let mut draft = Draft {
        home,
        author: caller.author(),
        client_id,
        visibility: place.visibility,
        body,
        thread: None,
        retry: false,
        cause: None,
    };
    let right = if caller.role >= Role::Supervisor { Right::Supervisor } else { Right::Agent };
    let referred = chat::refer(&log, &draft, &life, right, clock::now(), "").await;
    let referred = referred.map_err(|error| match error.code {
        // It is there, and no message: the path names it, not a field.
        ErrorCode::InvalidRequest => Problem::new(ErrorCode::Conflict, only(&error)),
        _ => error.into(),
    })?;
    let (mut must_be_open, mut purge) = (false, None);
    match referred {
        Some(Referred::Stored { seq }) => {
            return Ok(Json(Sent::of(&draft, seq, true, life.state.thread_id)));
        }
        Some(Referred::To { thread, while_open, file }) => {
            (draft.thread, must_be_open) = (thread, while_open);
            if matches!(&draft.body, EventBody::MessageDeleted(delete) if delete.purge) {
                let only = || ErrorBody::new(ErrorCode::Conflict, "only files have bytes to remove");
                let files = app.files(&app.bus.get()?).await?;
                let going = files.purge(&draft, file.ok_or_else(only)?, life.seq, clock::now()).await?;
                purge = Some((files, going));
            }
        }
        None => {}
    }
    let thread: Option<ThreadId> = draft.thread;
    // Whoever may delete anything need not take part.
    let watches = place.visibility == Visibility::Agents || (right == Right::Supervisor && !must_be_open);
    let sent = chat::send(&log, &draft, Some(life), |state| {
        if must_be_open && !(thread == Some(state.thread_id) && state.status.is_open()) {
            return Err(ErrorCode::ThreadClosed.into());
        }
        authorise(state, caller, watches)
    });
    let sent = sent.await;
    if let Some((files, going)) = purge {
        files.purged(going, &sent).await;
    }
    let sent = sent?;
    let thread = thread.unwrap_or(sent.life.state.thread_id);
    Ok(Json(Sent::of(&draft, sent.seq, sent.duplicate, thread)))
}

fn only(error: &ErrorBody) -> String {
    error.errors.iter().map(|field| field.message.clone()).next().unwrap_or_else(|| error.message.clone())
}
