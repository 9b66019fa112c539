//! `POST /v1/conversations/{id}/events` and `/v1/threads/{id}/events`: what staff say over HTTP.
//!
//! Invariant: it is stored once for ever under its client id, by the participants' rules, never after the close.

use std::iter;

use axum::{Json, extract::State};
use bus_schema::{
    AuthorType, ClientId, ConversationId, ErrorBody, ErrorCode, EventId, ThreadId, Visibility, event::Kind,
    openapi, protocol::SendBody, state::LifeState,
};
use http::{HeaderMap, StatusCode};
use ops::chat::{self, Draft, TextLimit};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::to_raw_value};
use sha2::{Digest as _, Sha256};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, schema::Schema},
};
use uuid::Uuid;

use super::{events::conversation_of, scope::Current};
use crate::{
    access::Caller,
    app::App,
    http::{Body, Check, Checks, PathId, Problem},
};

/// Either `content` or `event`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendEvent {
    /// Short for a message with this text.
    #[serde(default)]
    pub content: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<NewEvent>)]
    pub event: Option<SendBody>,
    /// If given, it must be the token's: `agent`.
    #[serde(default)]
    pub author_type: Option<AuthorType>,
    /// It was sent before, and there was no answer.
    #[serde(default)]
    pub retry: bool,
}

/// How [`SendBody`] looks with the kinds that staff send over HTTP.
struct NewEvent;

impl PartialSchema for NewEvent {
    fn schema() -> RefOr<Schema> {
        openapi::sent(sent_kinds())
    }
}

impl ToSchema for NewEvent {
    fn schemas(named: &mut openapi::Named) {
        openapi::refer_to_sent(sent_kinds(), named);
    }
}

fn sent_kinds() -> impl Iterator<Item = Kind> {
    Kind::ALL.iter().copied().filter(|kind| may_be_sent(*kind))
}

impl Check for SendEvent {
    fn check(&self, checks: &mut Checks) {
        let one = self.content.is_some() != self.event.is_some();
        checks.that("", one, "give either content or event");
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Sent {
    #[schema(value_type = uuid::Uuid)]
    pub event_id: EventId,
    pub seq: u64,
    /// It was stored before.
    pub duplicate: bool,
    #[schema(value_type = uuid::Uuid)]
    pub conversation_id: ConversationId,
    #[schema(value_type = uuid::Uuid)]
    pub thread_id: ThreadId,
}

impl Sent {
    pub(super) fn of(draft: &Draft, seq: u64, duplicate: bool, thread_id: ThreadId) -> Self {
        Self {
            event_id: draft.event_id(),
            seq,
            duplicate,
            conversation_id: draft.home.conversation,
            thread_id,
        }
    }
}

/// Into the open thread, or `thread_closed`.
pub async fn send(
    State(app): State<App>,
    caller: Caller,
    PathId(conversation): PathId<ConversationId>,
    headers: HeaderMap,
    Body(body): Body<SendEvent>,
) -> Result<(StatusCode, Json<Sent>), Problem> {
    send_in(&app, &caller, conversation, None, &headers, body).await
}

/// Into this thread if it is the open one, or `thread_closed`.
pub async fn send_to_thread(
    State(app): State<App>,
    caller: Caller,
    PathId(thread): PathId<ThreadId>,
    headers: HeaderMap,
    Body(body): Body<SendEvent>,
) -> Result<(StatusCode, Json<Sent>), Problem> {
    let conversation = conversation_of(&mut *app.within(caller.tenant).await?, &caller, thread).await?;
    send_in(&app, &caller, conversation, Some(thread), &headers, body).await
}

async fn send_in(
    app: &App,
    caller: &Caller,
    conversation: ConversationId,
    thread: Option<ThreadId>,
    headers: &HeaderMap,
    body: SendEvent,
) -> Result<(StatusCode, Json<Sent>), Problem> {
    let author = caller.author();
    if body.author_type.is_some_and(|kind| kind != author.kind) {
        let message = format!("author_type must be the token's own: {}", author.kind.name());
        return Err(Problem::new(ErrorCode::Forbidden, message));
    }
    let current = Current::read(app, caller, conversation).await?;
    let retry = body.retry;
    let short = body.content.is_some();
    let event = event(body, headers)?;
    let kind = Kind::parse(&event.kind).filter(|kind| may_be_sent(*kind));
    let kind = kind.ok_or_else(|| Problem::value("/event/kind", "must be message, rich_message or form"))?;
    let content = chat::content(kind, &event.data, TextLimit(app.text_max), "/event/data");
    let content = content.map_err(|error| if short { of_content(error) } else { error })?;
    let draft = Draft {
        home: current.home,
        author,
        client_id: event.client_id,
        visibility: event.visibility,
        body: content,
        thread,
        retry,
        cause: None,
    };
    let note = event.visibility == Visibility::Agents;
    let sent = chat::send(&current.log, &draft, Some(current.life), |state| authorise(state, caller, note));
    let sent = sent.await.map_err(|error| match error.code {
        // Over HTTP the thread is named by its URL: if another one is open, this one is closed.
        ErrorCode::Conflict if thread.is_some() => ErrorCode::ThreadClosed.into(),
        _ => error,
    })?;
    let status = if sent.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    let answer = Sent::of(&draft, sent.seq, sent.duplicate, sent.life.state.thread_id);
    Ok((status, Json(answer)))
}

const fn may_be_sent(kind: Kind) -> bool {
    matches!(kind, Kind::Message | Kind::RichMessage | Kind::Form)
}

/// What is wrong with the text, where it stands in the request.
fn of_content(mut error: ErrorBody) -> ErrorBody {
    for field in &mut error.errors {
        "/content".clone_into(&mut field.pointer);
    }
    error
}

fn event(body: SendEvent, headers: &HeaderMap) -> Result<SendBody, Problem> {
    if let Some(event) = body.event {
        return Ok(event);
    }
    let content = body.content.unwrap_or_default();
    let client_id = client_id(headers, &["send", &content])?;
    let data =
        to_raw_value(&json!({ "text": content })).map_err(|error| Problem::fault("write JSON", &error))?;
    Ok(SendBody { kind: Kind::Message.name().to_owned(), client_id, visibility: Visibility::All, data })
}

/// Of the idempotency key and what is asked for, so that a repeat is the same send for ever, and another one under
/// the same key, when that may be used again, is not taken for it; without a key a new one.
pub(super) fn client_id(headers: &HeaderMap, asked: &[&str]) -> Result<ClientId, Problem> {
    let text = match headers.get("idempotency-key") {
        None => format!("h-{}", Uuid::now_v7().simple()),
        Some(key) => {
            let mut digest = Sha256::new();
            for part in iter::once(key.as_bytes()).chain(asked.iter().map(|part| part.as_bytes())) {
                digest.update((part.len() as u64).to_be_bytes());
                digest.update(part);
            }
            let hex: String = digest.finalize().iter().take(20).map(|byte| format!("{byte:02x}")).collect();
            format!("k-{hex}")
        }
    };
    ClientId::new(text).map_err(|error| Problem::fault("make an id", &error))
}

/// Who takes part says anything, and so does a program that may; who only watches writes notes.
pub(super) fn authorise(state: &LifeState, caller: &Caller, note: bool) -> Result<(), ErrorBody> {
    let takes_part = state.assignee_id == Some(caller.agent) || state.participants.contains(&caller.agent);
    if takes_part || note || caller.is_bot() { Ok(()) } else { Err(ErrorCode::NotParticipant.into()) }
}
