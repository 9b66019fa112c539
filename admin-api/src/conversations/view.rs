//! How conversations are shown: the shape of the sockets' `Conv`, where what is not known is null.

use std::collections::BTreeMap;

use bus_schema::{
    AgentId, Author, AuthorType, ConversationId, GroupId, TagId, ThreadId, Timestamp, VisitorId,
    openapi::Event,
    protocol::{MarkView, QueueView},
    state::ThreadStatus,
};
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Uuid as UuidSql},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{
    At, Id,
    schema::chat::{conversations, marks, tags, threads, visitors},
};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{access::Caller, db::meaning, http::Problem};

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = conversations)]
pub struct ConversationRow {
    pub id: Id<ConversationId>,
    pub visitor_id: Id<VisitorId>,
    pub created_at: At,
    pub thread_id: Id<ThreadId>,
    pub status: String,
    pub group_id: Option<Id<GroupId>>,
    pub assignee_id: Option<Id<AgentId>>,
    pub participants: Vec<Id<AgentId>>,
    pub last_at: At,
    pub last_seq: i64,
}

impl ConversationRow {
    pub fn participants(&self) -> Vec<AgentId> {
        self.participants.iter().map(|id| id.0).collect()
    }
}

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = visitors)]
struct VisitorRow {
    id: Id<VisitorId>,
    name: Option<String>,
    email: Option<String>,
    custom: serde_json::Value,
}

/// The visitor of a conversation.
#[derive(Debug, Serialize, ToSchema)]
pub struct VisitorShown {
    #[schema(value_type = uuid::Uuid)]
    pub id: VisitorId,
    #[schema(required)]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub custom: Option<BTreeMap<String, String>>,
    /// Whether they have a connection now, as the edges say. Null: it is not known, because an edge is silent or the bus is
    /// away, or because the conversation is shown as it was.
    #[schema(required)]
    pub online: Option<bool>,
}

/// A thread of a conversation.
#[derive(Debug, Serialize, ToSchema)]
pub struct ThreadShown {
    #[schema(value_type = uuid::Uuid)]
    pub id: ThreadId,
    pub status: ThreadStatus,
    #[schema(value_type = Option<uuid::Uuid>, required)]
    pub group_id: Option<GroupId>,
    #[schema(value_type = Option<uuid::Uuid>, required)]
    pub assignee_id: Option<AgentId>,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Since when it waits for an agent. Null: it does not, or routing has yet to look at it, or the conversation is shown as
    /// it was.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    pub waiting_since: Option<Timestamp>,
    /// Where a thread is that waits. Only the router knows it, which is asked for one conversation. Null: it does not wait,
    /// the router does not answer in time, it is one of a list, or the conversation is shown as it was.
    #[schema(required)]
    pub queue: Option<QueueView>,
    #[schema(value_type = Vec<uuid::Uuid>)]
    pub tags: Vec<TagId>,
}

/// A conversation in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationView {
    #[schema(value_type = uuid::Uuid)]
    pub id: ConversationId,
    pub visitor: VisitorShown,
    /// The open thread, or the last one.
    pub thread: ThreadShown,
    #[schema(value_type = Vec<uuid::Uuid>)]
    pub participants: Vec<AgentId>,
    /// What others said above one's own read mark, in conversations one takes part in.
    pub unread: u64,
    pub marks: Vec<MarkView>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When something was last said or done.
    #[schema(value_type = String, format = DateTime)]
    pub last_at: Timestamp,
    pub last_seq: i64,
}

/// One conversation, with the latest events of its thread.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConversationDetail {
    #[serde(flatten)]
    pub conversation: ConversationView,
    /// At most 50, oldest first.
    #[schema(value_type = Vec<Event>)]
    pub events: Vec<Box<RawValue>>,
    pub has_more: bool,
}

#[derive(QueryableByName)]
struct Unread {
    #[diesel(sql_type = UuidSql)]
    id: Uuid,
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// Said by others in the thread that is shown, above the read mark of `$3`.
const UNREAD: &str = "SELECT c.id, count(*) AS n FROM chat.conversations c
    JOIN chat.messages m ON m.tenant_id = c.tenant_id AND m.conversation_id = c.id AND m.thread_id = c.thread_id
    LEFT JOIN chat.marks k ON k.tenant_id = c.tenant_id AND k.conversation_id = c.id
        AND k.author_type = 'agent' AND k.author_id = $3
    WHERE c.tenant_id = $1 AND c.id = ANY($2) AND (c.assignee_id = $3 OR $3 = ANY(c.participants))
        AND m.kind IN ('message', 'rich_message', 'file', 'form')
        AND NOT (m.author_type = 'agent' AND m.author_id = $3) AND m.seq > coalesce(k.read_seq, 0)
    GROUP BY c.id";

/// Everything that is stored of what is shown of these rows, in a few queries for all of them.
pub async fn views(
    connection: &mut AsyncPgConnection,
    caller: &Caller,
    rows: Vec<ConversationRow>,
) -> Result<Vec<ConversationView>, Problem> {
    let tenant = Id(caller.tenant);
    let ids: Vec<Id<ConversationId>> = rows.iter().map(|row| row.id).collect();
    let thread_ids: Vec<Id<ThreadId>> = rows.iter().map(|row| row.thread_id).collect();
    let visitor_ids: Vec<Id<VisitorId>> = rows.iter().map(|row| row.visitor_id).collect();
    let people: Vec<VisitorRow> = visitors::table
        .filter(visitors::tenant_id.eq(tenant).and(visitors::id.eq_any(&visitor_ids)))
        .select(VisitorRow::as_select())
        .load(connection)
        .await?;
    let people: BTreeMap<VisitorId, VisitorRow> = people.into_iter().map(|row| (row.id.0, row)).collect();
    let since: Vec<(Id<ThreadId>, At, Option<At>)> = threads::table
        .filter(threads::tenant_id.eq(tenant).and(threads::id.eq_any(&thread_ids)))
        .select((threads::id, threads::started_at, threads::waiting_since))
        .load(connection)
        .await?;
    let since: BTreeMap<ThreadId, _> =
        since.into_iter().map(|(id, started, waiting)| (id.0, (started.0, waiting.map(|at| at.0)))).collect();
    let labels: Vec<(Id<ThreadId>, Id<TagId>)> = tags::table
        .filter(tags::tenant_id.eq(tenant).and(tags::thread_id.eq_any(&thread_ids)).and(tags::present))
        .order((tags::thread_id, tags::seq))
        .select((tags::thread_id, tags::tag_id))
        .load(connection)
        .await?;
    let marks = marks_of(connection, caller, &ids).await?;
    let uuids: Vec<Uuid> = ids.iter().map(|id| id.0.uuid()).collect();
    let unread: Vec<Unread> = diesel::sql_query(UNREAD)
        .bind::<UuidSql, _>(caller.tenant.uuid())
        .bind::<Array<UuidSql>, _>(uuids)
        .bind::<UuidSql, _>(caller.agent.uuid())
        .load(connection)
        .await?;
    let unread: BTreeMap<Uuid, i64> = unread.into_iter().map(|row| (row.id, row.n)).collect();
    rows.into_iter()
        .map(|row| {
            let thread = row.thread_id.0;
            let status = meaning::<ThreadStatus>(&row.status)?;
            let (started_at, waiting) = since.get(&thread).copied().unwrap_or((row.created_at.0, None));
            Ok(ConversationView {
                id: row.id.0,
                visitor: visitor(people.get(&row.visitor_id.0), row.visitor_id.0),
                thread: ThreadShown {
                    id: thread,
                    status,
                    group_id: row.group_id.map(|id| id.0),
                    assignee_id: row.assignee_id.map(|id| id.0),
                    started_at,
                    waiting_since: waiting.filter(|_| status == ThreadStatus::Queued),
                    queue: None,
                    tags: labels.iter().filter(|(id, _)| id.0 == thread).map(|(_, tag)| tag.0).collect(),
                },
                participants: row.participants(),
                unread: unread.get(&row.id.0.uuid()).map_or(0, |n| n.unsigned_abs()),
                marks: marks.get(&row.id.0).cloned().unwrap_or_default(),
                created_at: row.created_at.0,
                last_at: row.last_at.0,
                last_seq: row.last_seq,
            })
        })
        .collect()
}

async fn marks_of(
    connection: &mut AsyncPgConnection,
    caller: &Caller,
    ids: &[Id<ConversationId>],
) -> Result<BTreeMap<ConversationId, Vec<MarkView>>, Problem> {
    let rows: Vec<(Id<ConversationId>, String, Uuid, i64, i64)> = marks::table
        .filter(marks::tenant_id.eq(Id(caller.tenant)).and(marks::conversation_id.eq_any(ids)))
        .order((marks::conversation_id, marks::author_type, marks::author_id))
        .select((
            marks::conversation_id,
            marks::author_type,
            marks::author_id,
            marks::delivered_seq,
            marks::read_seq,
        ))
        .load(connection)
        .await?;
    let mut by_conversation: BTreeMap<ConversationId, Vec<MarkView>> = BTreeMap::new();
    for (conversation, kind, id, delivered, read) in rows {
        let kind: AuthorType = meaning(&kind)?;
        by_conversation.entry(conversation.0).or_default().push(MarkView {
            author: Author { kind, id },
            delivered: delivered.unsigned_abs(),
            read: read.unsigned_abs(),
        });
    }
    Ok(by_conversation)
}

fn visitor(row: Option<&VisitorRow>, id: VisitorId) -> VisitorShown {
    let custom = row.map(|row| serde_json::from_value(row.custom.clone()).unwrap_or_default());
    VisitorShown {
        id,
        name: row.and_then(|row| row.name.clone()),
        email: row.and_then(|row| row.email.clone()),
        custom,
        online: None,
    }
}
