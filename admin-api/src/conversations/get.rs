//! `GET /v1/conversations/{id}`.

use axum::extract::State;
use bus_schema::{ConversationId, limits::SNAPSHOT_EVENTS_MAX};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{Id, schema::chat::conversations};
use serde::Deserialize;

use super::{
    Scope,
    events::latest_of_thread,
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

pub async fn get(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<ConversationId>,
    Query(query): Query<MinSeq>,
) -> Result<Applied<ConversationDetail>, Problem> {
    let seq = applied(&app, &caller, query.min_seq).await?;
    let mut connection = app.within(caller.tenant).await?;
    let row = visible(&mut connection, &caller, id).await?;
    let thread = row.thread_id.0;
    let (events, has_more) =
        latest_of_thread(&mut connection, caller.tenant, id, thread, SNAPSHOT_EVENTS_MAX).await?;
    let conversation =
        views(&mut connection, &caller, vec![row]).await?.pop().ok_or_else(Problem::not_found)?;
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
