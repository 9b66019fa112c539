//! `GET /v1/conversations/{id}/routing`: everything that routing did, in order, with its reasons; why the open thread
//! still waits, and why the caller got it.
//!
//! Invariant: what was done is the log's word, event by event; what is in the way now is the router's, and is left out
//! while that is away.

use axum::extract::State;
use bus_schema::{
    AgentId, Author, ConversationId, ErrorCode, TenantId, ThreadId, Timestamp,
    command::{Answer, Command, Waits},
};
use diesel::{dsl::sql, pg::Pg, prelude::*, sql_types::Bool};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{
    At, Id,
    schema::chat::{decisions, events},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{get::visible, threads::ThreadQuery};
use crate::{
    access::Caller,
    app::App,
    http::{List, Page, PathId, Position, Problem, Query},
    read_model::{Applied, applied},
};

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = events)]
struct EventRow {
    seq: i64,
    at: At,
    thread_id: Option<Id<ThreadId>>,
    kind: String,
    payload: Option<String>,
}

/// What is shown of a stored event.
#[derive(Deserialize)]
struct Stored {
    author: Author,
    data: Map<String, Value>,
}

/// One thing that was done to a thread: an event of its life or of its routing.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoutingEntry {
    pub seq: i64,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    #[schema(value_type = uuid::Uuid)]
    pub thread_id: ThreadId,
    /// Of the event: `decided`, `offered`, `declined`, `unanswered`, `priority_set`, `skills_set`, `skills_waived`, or what
    /// came of it, such as `queued`, `assigned`, `agent_lost`, `transferred` or `closed`.
    pub kind: String,
    /// Who did it: an agent, a visitor, a program, or the router as `system`.
    #[schema(value_type = Object)]
    pub author: Author,
    /// What the event says, without the state after it: a reason, whom it was offered to, who did not answer.
    #[schema(value_type = Object)]
    pub data: Map<String, Value>,
    /// Of a decision; null for everything else.
    pub rule: Option<String>,
    #[schema(value_type = Option<uuid::Uuid>)]
    pub chosen: Option<AgentId>,
    /// The whole decision: strategy, candidates with load and refusals, what took how long; null for everything else.
    #[schema(value_type = Option<Object>)]
    pub decision: Option<Value>,
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

/// What was done, and what it means for who asks.
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
    let mut rows = of_routing(caller.tenant, conversation).order(events::seq).limit(page.rows());
    if let Some(position) = page.after {
        rows = rows.filter(events::seq.gt(position.seq()));
    }
    let rows: Vec<EventRow> = rows.select(EventRow::as_select()).load(&mut connection).await?;
    let place = |row: &EventRow| Position::of_seq(row.at.0, row.seq);
    let List { data, next_cursor } = page.of_rows(rows, place, EventRow::show);
    let data = data.into_iter().collect::<Result<_, _>>()?;
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

type Rows = events::BoxedQuery<'static, Pg>;

/// What the router and who began a thread wrote of it.
fn of_routing(tenant: TenantId, conversation: ConversationId) -> Rows {
    events::table
        .filter(events::tenant_id.eq(Id(tenant)).and(events::conversation_id.eq(Id(conversation))))
        // As the index of these says it: a parameter could be any lane.
        .filter(sql::<Bool>("chat.events.lane IN ('life', 'desk')"))
        .filter(events::payload.is_not_null())
        .into_boxed()
}

/// The last decision that gave it to the caller.
async fn got(
    connection: &mut AsyncPgConnection,
    caller: &Caller,
    conversation: ConversationId,
) -> Result<Option<RoutingEntry>, Problem> {
    let last: Option<i64> = decisions::table
        .filter(
            decisions::tenant_id.eq(Id(caller.tenant)).and(decisions::conversation_id.eq(Id(conversation))),
        )
        .filter(decisions::chosen_id.eq(Id(caller.agent)))
        .order(decisions::seq.desc())
        .select(decisions::seq)
        .first(connection)
        .await
        .optional()?;
    let Some(seq) = last else { return Ok(None) };
    let row = of_routing(caller.tenant, conversation).filter(events::seq.eq(seq));
    let row: EventRow = row.select(EventRow::as_select()).first(connection).await?;
    row.show().map(Some)
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

impl EventRow {
    fn show(self) -> Result<RoutingEntry, Problem> {
        let payload = self.payload.unwrap_or_default();
        let stored = serde_json::from_str(&payload).map_err(|error| Problem::fault("a stored event", &error));
        let Stored { author, mut data } = stored?;
        data.remove("state");
        let decision = data.remove("decision");
        let of_decision = |name: &str| decision.as_ref()?.get(name)?.as_str();
        Ok(RoutingEntry {
            seq: self.seq,
            at: self.at.0,
            thread_id: self.thread_id.map(|id| id.0).ok_or(ErrorCode::Internal)?,
            kind: self.kind,
            author,
            rule: of_decision("rule").map(str::to_owned),
            chosen: of_decision("chosen").and_then(|id| id.parse().ok()),
            data,
            decision,
        })
    }
}
