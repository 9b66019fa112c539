//! How far the caller has read: marks, and what is unread above them.

use axum::{Json, extract::State};
use bus_schema::{ConversationId, ErrorCode, EventId};
use diesel::{
    prelude::*,
    sql_types::{BigInt, Uuid as UuidSql},
};
use diesel_async::RunQueryDsl;
use http::StatusCode;
use ops::chat::{self, MarkKind, NewMark};
use persister::db::Id;
use serde::Serialize;
use utoipa::ToSchema;

use super::{change::place_of, get::MinSeq, mine::UNREAD, scope::Current};
use crate::{
    access::Caller,
    app::App,
    http::{PathId, Problem, Query},
    read_model::{Applied, applied},
};

/// What the caller has not read yet.
#[derive(Debug, Serialize, ToSchema, QueryableByName)]
pub struct UnreadCount {
    /// Of what others said.
    #[diesel(sql_type = BigInt)]
    pub unread: i64,
    /// In how many conversations.
    #[diesel(sql_type = BigInt)]
    pub conversations: i64,
}

pub async fn unread_count(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<MinSeq>,
) -> Result<Applied<UnreadCount>, Problem> {
    let seq = applied(&app, &caller, query.min_seq).await?;
    let body = diesel::sql_query(UNREAD)
        .bind::<UuidSql, _>(Id(caller.tenant))
        .bind::<UuidSql, _>(Id(caller.agent))
        .get_result(&mut app.within(caller.tenant).await?)
        .await?;
    Ok(Applied { seq, body })
}

/// How far is read now.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadUpTo {
    #[schema(value_type = uuid::Uuid)]
    pub conversation_id: ConversationId,
    pub up_to_seq: u64,
}

/// Everything that was said in a conversation.
pub async fn read_all(
    State(app): State<App>,
    caller: Caller,
    PathId(conversation): PathId<ConversationId>,
) -> Result<Json<ReadUpTo>, Problem> {
    let current = Current::read(&app, &caller, conversation).await?;
    let tail = chat::tail(&current.log, current.home, bus_schema::Audience::All).await?;
    mark(&caller, &current, tail.end()).await
}

/// Everything up to an event.
pub async fn read_event(
    State(app): State<App>,
    caller: Caller,
    PathId(event): PathId<EventId>,
) -> Result<(StatusCode, Json<ReadUpTo>), Problem> {
    let place = place_of(&app, &caller, event).await?;
    let current = Current::read(&app, &caller, place.conversation).await?;
    Ok((StatusCode::OK, mark(&caller, &current, place.seq).await?))
}

/// Marks of those who only watch are no events.
async fn mark(caller: &Caller, current: &Current, up_to: u64) -> Result<Json<ReadUpTo>, Problem> {
    let state = &current.life.state;
    let takes_part = state.assignee_id == Some(caller.agent) || state.participants.contains(&caller.agent);
    if !takes_part {
        return Err(ErrorCode::NotParticipant.into());
    }
    let author = caller.author();
    let new = NewMark { home: current.home, thread: state.thread_id, author, kind: MarkKind::Read, up_to };
    chat::mark(&current.log, &new).await?;
    Ok(Json(ReadUpTo { conversation_id: current.home.conversation, up_to_seq: up_to }))
}
