//! `GET /v1/conversations/{id}/routing`: why it went where it went, why it still waits, and why the caller got it.
//!
//! Invariant: what was decided comes from the log; what is in the way now, from the router, and is left out while that
//! is away.

use axum::extract::State;
use bus_schema::{
    AgentId, ConversationId, ThreadId, Timestamp,
    command::{Answer, Command, Waits},
};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
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

/// Why the open thread waits, as it is now.
#[derive(Debug, Serialize, ToSchema)]
pub struct StillWaits {
    #[schema(value_type = uuid::Uuid)]
    pub thread_id: ThreadId,
    pub position: u32,
    /// Seconds, if it goes on like this.
    pub wait_s: Option<u64>,
    pub reason: String,
    /// Everybody who could have it, with what is in the way.
    #[schema(value_type = Object)]
    pub decision: Value,
}

/// Decisions, and what they mean for who asks.
#[derive(Debug, Serialize, ToSchema)]
pub struct Routed {
    pub data: Vec<RoutingEntry>,
    /// Where the next page begins; null at the end.
    pub next_cursor: Option<String>,
    /// On the first page: why it still waits. Null where it does not, and while the router is away.
    pub waits: Option<StillWaits>,
    /// On the first page: the last decision by which the caller got it.
    pub mine: Option<RoutingEntry>,
}

pub async fn routing(
    State(app): State<App>,
    caller: Caller,
    PathId(conversation): PathId<ConversationId>,
    Query(query): Query<ThreadQuery>,
) -> Result<Applied<Routed>, Problem> {
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
    let List { data, next_cursor } = page.of_rows(rows, place, DecisionRow::show);
    let (waits, mine) = match page.after {
        Some(_) => (None, None),
        None => {
            let mine = got(&mut connection, &caller, conversation).await?;
            // The router may take its time; the connection is for others meanwhile.
            drop(connection);
            (still_waits(&app, &caller, conversation).await, mine)
        }
    };
    Ok(Applied { seq, body: Routed { data, next_cursor, waits, mine } })
}

/// The last decision that gave it to the caller.
async fn got(
    connection: &mut AsyncPgConnection,
    caller: &Caller,
    conversation: ConversationId,
) -> Result<Option<RoutingEntry>, Problem> {
    let row = decisions::table
        .filter(
            decisions::tenant_id.eq(Id(caller.tenant)).and(decisions::conversation_id.eq(Id(conversation))),
        )
        .filter(decisions::chosen_id.eq(Id(caller.agent)))
        .order(decisions::seq.desc())
        .select(DecisionRow::as_select())
        .first(connection)
        .await
        .optional()?;
    Ok(row.map(DecisionRow::show))
}

async fn still_waits(app: &App, caller: &Caller, conversation_id: ConversationId) -> Option<StillWaits> {
    match app.bus.command(caller, Command::Explain { conversation_id }).await {
        Ok(Answer::Explained { waits }) => {
            let Waits { thread_id, place, reason, decision } = *waits?;
            Some(StillWaits {
                thread_id,
                position: place.position,
                wait_s: place.wait_s,
                reason: serde_json::to_value(reason).ok()?.as_str()?.to_owned(),
                decision: serde_json::to_value(decision).ok()?,
            })
        }
        Ok(_) | Err(_) => None,
    }
}

impl DecisionRow {
    fn show(self) -> RoutingEntry {
        RoutingEntry {
            seq: self.seq,
            at: self.at.0,
            thread_id: self.thread_id.0,
            rule: self.rule,
            chosen: self.chosen_id.map(|id| id.0),
            decision: self.decision,
        }
    }
}
