//! Visitors: `GET /v1/visitors` and `/v1/visitors/{id}` from the read model, who is online, what is kept, and changes.

mod change;
mod erase;
mod export;
mod lapse;
mod list;
mod online;

pub use change::{ChangedVisitor, NewBan, PatchVisitor, ban, patch, unban};
pub use erase::{Erased, erase, eraser};
pub use export::{Export, export};
pub use lapse::forgetter;
pub use list::{VisitorQuery, list};
pub use online::{OnlineVisitor, online};

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use bus_schema::{AgentId, ConversationId, GroupId, Timestamp, VisitorId};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{
    At, Id,
    schema::chat::{conversations, visitors},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    access::Caller,
    app::App,
    conversations::Scope,
    http::{PathId, Problem, Query, Tagged},
    read_model::{applied, applied_header},
};

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = visitors)]
struct Row {
    id: Id<VisitorId>,
    conversation_id: Id<ConversationId>,
    name: Option<String>,
    email: Option<String>,
    custom: Value,
    external_id: Option<String>,
    verified: bool,
    banned: bool,
    page_url: Option<String>,
    page_title: Option<String>,
    first_seen_at: At,
    last_seen_at: At,
    seq: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct VisitorRecord {
    #[schema(value_type = uuid::Uuid)]
    pub id: VisitorId,
    #[schema(value_type = uuid::Uuid)]
    pub conversation_id: ConversationId,
    pub name: Option<String>,
    pub email: Option<String>,
    #[schema(value_type = BTreeMap<String, String>)]
    pub custom: Value,
    /// A label, unless `verified`.
    pub external_id: Option<String>,
    pub verified: bool,
    pub banned: bool,
    pub page_url: Option<String>,
    pub page_title: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub first_seen_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub last_seen_at: Timestamp,
}

impl From<Row> for VisitorRecord {
    fn from(row: Row) -> Self {
        Self {
            id: row.id.0,
            conversation_id: row.conversation_id.0,
            name: row.name,
            email: row.email,
            custom: row.custom,
            external_id: row.external_id,
            verified: row.verified,
            banned: row.banned,
            page_url: row.page_url,
            page_title: row.page_title,
            first_seen_at: row.first_seen_at.0,
            last_seen_at: row.last_seen_at.0,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneQuery {
    min_seq: Option<u64>,
}

/// The ETag is the record's place in the log, as a change of it compares.
pub async fn get(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<VisitorId>,
    Query(query): Query<OneQuery>,
) -> Result<Response, Problem> {
    let seq = applied(&app, &caller, query.min_seq).await?;
    let mut connection = app.within(caller.tenant).await?;
    let scope = Scope::of(&mut connection, &caller).await?;
    let row = rows(&mut connection, &caller, &scope, &[id]).await?.pop().ok_or_else(Problem::not_found)?;
    let mut response = Tagged::ok(row.seq, VisitorRecord::from(row)).into_response();
    applied_header(&mut response, seq);
    Ok(response)
}

async fn records(
    connection: &mut AsyncPgConnection,
    caller: &Caller,
    scope: &Scope,
    ids: &[VisitorId],
) -> Result<Vec<VisitorRecord>, Problem> {
    let rows = rows(connection, caller, scope, ids).await?;
    Ok(rows.into_iter().map(VisitorRecord::from).collect())
}

/// Of a conversation, if it has begun: its group, its assignee, who takes part.
type Seat = (Option<Id<GroupId>>, Option<Id<AgentId>>, Option<Vec<Id<AgentId>>>);

/// Those of these visitors who have a record, and whose conversations the caller may see.
async fn rows(
    connection: &mut AsyncPgConnection,
    caller: &Caller,
    scope: &Scope,
    ids: &[VisitorId],
) -> Result<Vec<Row>, Problem> {
    let same =
        conversations::tenant_id.eq(visitors::tenant_id).and(conversations::id.eq(visitors::conversation_id));
    let ids: Vec<Id<VisitorId>> = ids.iter().copied().map(Id).collect();
    let rows: Vec<(Row, Seat)> = visitors::table
        .left_join(conversations::table.on(same))
        .filter(visitors::tenant_id.eq(Id(caller.tenant)).and(visitors::id.eq_any(ids)))
        .filter(visitors::erased_at.is_null())
        .select((
            Row::as_select(),
            (
                conversations::group_id.nullable(),
                conversations::assignee_id.nullable(),
                conversations::participants.nullable(),
            ),
        ))
        .load(connection)
        .await?;
    let seen = |(_, (group, assignee, participants)): &(Row, Seat)| {
        let participants: Vec<AgentId> = participants.iter().flatten().map(|id| id.0).collect();
        scope.sees(group.map(|id| id.0), assignee.map(|id| id.0), &participants)
    };
    Ok(rows.into_iter().filter(seen).map(|(row, _)| row).collect())
}
