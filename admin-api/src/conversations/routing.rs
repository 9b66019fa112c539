//! `GET /v1/conversations/{id}/routing`: everything that routing did, in order, with its reasons; why the open thread
//! still waits, and why the caller got it.
//!
//! Invariant: what was done is the log's word, event by event; what is in the way now is the router's, and is left out
//! while that is away.

use std::borrow::Cow;

use axum::extract::State;
use bus_schema::{
    AgentId, Author, ConversationId, ErrorCode, Lane, TenantId, ThreadId, Timestamp, Visibility,
    command::{Answer, Command, Waits},
    event::Kind,
    openapi,
    state::{Decision, DecisionRule, QueueReason},
};
use diesel::{dsl::sql, pg::Pg, prelude::*, sql_types::Bool};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{
    At, Id,
    schema::chat::{decisions, events},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, schema::Schema},
};

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

/// What was done, as its event says it, without the state after it and without the decision: a reason, whom it was
/// offered to, who did not answer.
#[derive(Debug, Serialize)]
pub struct Done {
    /// Of the event: `decided`, `offered`, `declined`, `unanswered`, `priority_set`, `skills_set`, `skills_waived`, or what
    /// came of it, such as `queued`, `assigned`, `agent_lost`, `transferred` or `closed`.
    pub kind: String,
    pub data: Map<String, Value>,
}

impl PartialSchema for Done {
    fn schema() -> RefOr<Schema> {
        openapi::told(of_routing_kinds(), &LEFT_OUT)
    }
}

impl ToSchema for Done {
    fn name() -> Cow<'static, str> {
        "RoutingDone".into()
    }

    fn schemas(named: &mut openapi::Named) {
        openapi::refer_to_told(of_routing_kinds(), named);
    }
}

/// What an event says that is shown apart from it, or not at all.
const LEFT_OUT: [&str; 2] = ["state", "decision"];

fn of_routing_kinds() -> impl Iterator<Item = Kind> {
    let is_shown = |kind: &Kind| matches!(kind.lane(Visibility::All), Some(Lane::Life | Lane::Desk));
    Kind::ALL.iter().copied().filter(is_shown)
}

/// One thing that was done to a thread: an event of its life or of its routing.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoutingEntry {
    pub seq: i64,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    #[schema(value_type = uuid::Uuid)]
    pub thread_id: ThreadId,
    #[serde(flatten)]
    pub done: Done,
    /// Who did it: an agent, a visitor, a program, or the router as `system`.
    pub author: Author,
    /// Of a decision; null for everything else.
    #[schema(value_type = Option<DecisionRule>)]
    pub rule: Option<String>,
    #[schema(value_type = Option<uuid::Uuid>)]
    pub chosen: Option<AgentId>,
    /// The whole decision: strategy, candidates with load and refusals, what took how long; null for everything else.
    #[schema(value_type = Option<Decision>)]
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
    pub reason: QueueReason,
    /// Everybody who could have it, with what is in the way.
    pub decision: Decision,
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
            Some(StillWaits { thread_id, position: place.position, wait_s: place.wait_s, reason, decision })
        }
        Ok(_) | Err(_) => None,
    }
}

impl EventRow {
    fn show(self) -> Result<RoutingEntry, Problem> {
        let payload = self.payload.unwrap_or_default();
        let stored = serde_json::from_str(&payload).map_err(|error| Problem::fault("a stored event", &error));
        let Stored { author, mut data } = stored?;
        let [_, decision] = LEFT_OUT.map(|name| data.remove(name));
        let of_decision = |name: &str| decision.as_ref()?.get(name)?.as_str();
        Ok(RoutingEntry {
            seq: self.seq,
            at: self.at.0,
            thread_id: self.thread_id.map(|id| id.0).ok_or(ErrorCode::Internal)?,
            done: Done { kind: self.kind, data },
            author,
            rule: of_decision("rule").map(str::to_owned),
            chosen: of_decision("chosen").and_then(|id| id.parse().ok()),
            decision,
        })
    }
}
