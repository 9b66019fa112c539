//! `GET /v1/conversations/{id}/routing`: why it went where it went.

use axum::extract::State;
use bus_schema::{AgentId, ConversationId, ThreadId, Timestamp};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use persister::db::{At, Id, schema::chat::decisions};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{get::visible, threads::ThreadQuery};
use crate::{
    access::Caller,
    app::App,
    http::{List, Page, PathId, Position, Problem, Query},
    read_model::{Applied, applied},
};

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = decisions)]
struct DecisionRow {
    seq: i64,
    at: At,
    thread_id: Id<ThreadId>,
    rule: String,
    chosen_id: Option<Id<AgentId>>,
    decision: Value,
}

/// A decision of the router, with its reasons.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoutingEntry {
    pub seq: i64,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    #[schema(value_type = uuid::Uuid)]
    pub thread_id: ThreadId,
    pub rule: String,
    #[schema(value_type = Option<uuid::Uuid>)]
    pub chosen: Option<AgentId>,
    /// The whole decision: strategy, candidates with load and refusals, what took how long.
    #[schema(value_type = Object)]
    pub decision: Value,
}

pub async fn routing(
    State(app): State<App>,
    caller: Caller,
    PathId(conversation): PathId<ConversationId>,
    Query(query): Query<ThreadQuery>,
) -> Result<Applied<List<RoutingEntry>>, Problem> {
    let page = Page::of(query.limit, query.cursor.as_deref())?;
    let seq = applied(&app, &caller, query.min_seq).await?;
    let mut connection = app.within(caller.tenant).await?;
    visible(&mut connection, &caller, conversation).await?;
    let mut rows = decisions::table
        .filter(
            decisions::tenant_id.eq(Id(caller.tenant)).and(decisions::conversation_id.eq(Id(conversation))),
        )
        .order(decisions::seq)
        .limit(page.rows())
        .select(DecisionRow::as_select())
        .into_boxed();
    if let Some(position) = page.after {
        rows = rows.filter(decisions::seq.gt(position.seq()));
    }
    let rows: Vec<DecisionRow> = rows.load(&mut connection).await?;
    let place = |row: &DecisionRow| Position::of_seq(row.at.0, row.seq);
    let show = |row: DecisionRow| RoutingEntry {
        seq: row.seq,
        at: row.at.0,
        thread_id: row.thread_id.0,
        rule: row.rule,
        chosen: row.chosen_id.map(|id| id.0),
        decision: row.decision,
    };
    Ok(Applied { seq, body: page.of_rows(rows, place, show) })
}
