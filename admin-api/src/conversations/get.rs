//! `GET /v1/conversations/{id}`, as it is or as it was.

use axum::extract::State;
use bus_schema::{ConversationId, Timestamp, limits::SNAPSHOT_EVENTS_MAX};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{Id, schema::chat::conversations};
use serde::Deserialize;

use super::{
    Scope,
    events::{Lanes, Of, Way, page},
    now::{tell_online, tell_place},
    then::{as_of, seq_at},
    view::{ConversationDetail, ConversationRow, views},
};
use crate::{
    access::Caller,
    app::App,
    http::{PathId, Problem, Query},
    read_model::{Applied, applied},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinSeq {
    pub min_seq: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    min_seq: Option<u64>,
    at_seq: Option<u64>,
    at: Option<Timestamp>,
}

pub async fn get(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<ConversationId>,
    Query(query): Query<When>,
) -> Result<Applied<ConversationDetail>, Problem> {
    let seq = applied(&app, &caller, query.min_seq).await?;
    let mut connection = app.within(caller.tenant).await?;
    let row = visible(&mut connection, &caller, id).await?;
    let then = match (query.at_seq, query.at) {
        (None, None) => None,
        (Some(seq), None) => Some(i64::try_from(seq).unwrap_or(i64::MAX)),
        (None, Some(at)) => Some(seq_at(&mut connection, &caller, id, at).await?),
        (Some(_), Some(_)) => return Err(Problem::malformed("/query/at", "give either at_seq or at")),
    };
    if let Some(then) = then {
        return Ok(Applied { seq, body: as_of(&mut connection, &caller, row, then).await? });
    }
    let thread = Some(row.thread_id.0);
    let of = Of { tenant: caller.tenant, conversation: id, thread, lanes: Lanes::Unmarked };
    let (events, has_more) = page(&mut connection, of, Way::Before(i64::MAX), SNAPSHOT_EVENTS_MAX).await?;
    let events = events.into_iter().map(|(_, event)| event).collect();
    let mut shown = views(&mut connection, &caller, vec![row]).await?;
    // Edges and routers may take their time; the connection is for others meanwhile.
    drop(connection);
    tell_online(&app, &caller, &mut shown).await;
    let mut conversation = shown.pop().ok_or_else(Problem::not_found)?;
    tell_place(&app, &caller, &mut conversation).await;
    Ok(Applied { seq, body: ConversationDetail { conversation, events, has_more } })
}

/// The conversation, if the caller may see it.
pub(super) async fn visible(
    connection: &mut AsyncPgConnection,
    caller: &Caller,
    id: ConversationId,
) -> Result<ConversationRow, Problem> {
    let found = conversations::table
        .find((Id(caller.tenant), Id(id)))
        .select(ConversationRow::as_select())
        .first(connection)
        .await
        .optional()?;
    let scope = Scope::of(connection, caller).await?;
    let row: ConversationRow = found.ok_or_else(Problem::not_found)?;
    let group = row.group_id.map(|id| id.0);
    let sees = scope.sees(group, row.assignee_id.map(|id| id.0), &row.participants());
    if sees { Ok(row) } else { Err(Problem::not_found()) }
}
