//! Threads: the episodes of a conversation.

use axum::extract::State;
use bus_schema::{
    AgentId, ConversationId, GroupId, TenantId, ThreadId, Timestamp, VisitorId,
    state::{CloseReason, Priority, QueueReason, StartSource, ThreadStatus},
};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{At, Id, schema::chat::threads};
use serde::Serialize;
use utoipa::ToSchema;

use super::get::{MinSeq, visible};
use crate::{
    access::Caller,
    app::App,
    http::{List, Page, PathId, Position, Problem, Query},
    read_model::{Applied, applied},
};

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = threads)]
struct ThreadRow {
    id: Id<ThreadId>,
    conversation_id: Id<ConversationId>,
    visitor_id: Id<VisitorId>,
    source: Option<String>,
    previous_thread_id: Option<Id<ThreadId>>,
    status: String,
    group_id: Option<Id<GroupId>>,
    assignee_id: Option<Id<AgentId>>,
    participants: Vec<Id<AgentId>>,
    started_at: At,
    started_seq: i64,
    first_assigned_at: Option<At>,
    first_response_at: Option<At>,
    closed_at: Option<At>,
    close_reason: Option<String>,
    visitor_messages: i64,
    agent_messages: i64,
    priority: Option<String>,
    waiting_since: Option<At>,
    waiting_reason: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ThreadRecord {
    #[schema(value_type = uuid::Uuid)]
    pub id: ThreadId,
    #[schema(value_type = uuid::Uuid)]
    pub conversation_id: ConversationId,
    #[schema(value_type = uuid::Uuid)]
    pub visitor_id: VisitorId,
    /// What made it start.
    #[schema(value_type = Option<StartSource>)]
    pub source: Option<String>,
    #[schema(value_type = Option<uuid::Uuid>)]
    pub previous_thread_id: Option<ThreadId>,
    #[schema(value_type = ThreadStatus)]
    pub status: String,
    #[schema(value_type = Option<uuid::Uuid>)]
    pub group_id: Option<GroupId>,
    #[schema(value_type = Option<uuid::Uuid>)]
    pub assignee_id: Option<AgentId>,
    #[schema(value_type = Vec<uuid::Uuid>)]
    pub participants: Vec<AgentId>,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_assigned_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub first_response_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub closed_at: Option<Timestamp>,
    #[schema(value_type = Option<CloseReason>)]
    pub close_reason: Option<String>,
    pub visitor_messages: i64,
    pub agent_messages: i64,
    #[schema(value_type = Option<Priority>)]
    pub priority: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub waiting_since: Option<Timestamp>,
    #[schema(value_type = Option<QueueReason>)]
    pub waiting_reason: Option<String>,
}

impl From<ThreadRow> for ThreadRecord {
    fn from(row: ThreadRow) -> Self {
        let at = |at: Option<At>| at.map(|at| at.0);
        Self {
            id: row.id.0,
            conversation_id: row.conversation_id.0,
            visitor_id: row.visitor_id.0,
            source: row.source,
            previous_thread_id: row.previous_thread_id.map(|id| id.0),
            status: row.status,
            group_id: row.group_id.map(|id| id.0),
            assignee_id: row.assignee_id.map(|id| id.0),
            participants: row.participants.into_iter().map(|id| id.0).collect(),
            started_at: row.started_at.0,
            first_assigned_at: at(row.first_assigned_at),
            first_response_at: at(row.first_response_at),
            closed_at: at(row.closed_at),
            close_reason: row.close_reason,
            visitor_messages: row.visitor_messages,
            agent_messages: row.agent_messages,
            priority: row.priority,
            waiting_since: at(row.waiting_since),
            waiting_reason: row.waiting_reason,
        }
    }
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThreadQuery {
    pub limit: Option<usize>,
    pub cursor: Option<String>,
    pub min_seq: Option<u64>,
}

/// A conversation's threads, oldest first.
pub async fn threads(
    State(app): State<App>,
    caller: Caller,
    PathId(conversation): PathId<ConversationId>,
    Query(query): Query<ThreadQuery>,
) -> Result<Applied<List<ThreadRecord>>, Problem> {
    let page = Page::of(query.limit, query.cursor.as_deref())?;
    let seq = applied(&app, &caller, query.min_seq).await?;
    let mut connection = app.within(caller.tenant).await?;
    visible(&mut connection, &caller, conversation).await?;
    let after = page.after.map_or(0, |position| position.seq());
    let rows = rows(&mut connection, (caller.tenant, conversation), after, page.rows()).await?;
    let place = |row: &ThreadRow| Position::of_seq(row.started_at.0, row.started_seq);
    Ok(Applied { seq, body: page.of_rows(rows, place, ThreadRecord::from) })
}

/// The threads that follow the one that started at `after`, oldest first, with where they started.
pub async fn threads_page(
    connection: &mut AsyncPgConnection,
    (tenant, conversation): (TenantId, ConversationId),
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, ThreadRecord)>, Problem> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = rows(connection, (tenant, conversation), after, limit).await?;
    Ok(rows.into_iter().map(|row| (row.started_seq, row.into())).collect())
}

async fn rows(
    connection: &mut AsyncPgConnection,
    (tenant, conversation): (TenantId, ConversationId),
    after: i64,
    limit: i64,
) -> Result<Vec<ThreadRow>, Problem> {
    let rows = threads::table
        .filter(threads::tenant_id.eq(Id(tenant)).and(threads::conversation_id.eq(Id(conversation))))
        .filter(threads::started_seq.gt(after))
        .order(threads::started_seq)
        .limit(limit)
        .select(ThreadRow::as_select())
        .load(connection)
        .await?;
    Ok(rows)
}

pub async fn thread(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<ThreadId>,
    Query(query): Query<MinSeq>,
) -> Result<Applied<ThreadRecord>, Problem> {
    let seq = applied(&app, &caller, query.min_seq).await?;
    let mut connection = app.within(caller.tenant).await?;
    let row: ThreadRow = threads::table
        .find((Id(caller.tenant), Id(id)))
        .select(ThreadRow::as_select())
        .first(&mut connection)
        .await
        .optional()?
        .ok_or_else(Problem::not_found)?;
    visible(&mut connection, &caller, row.conversation_id.0).await?;
    Ok(Applied { seq, body: row.into() })
}
