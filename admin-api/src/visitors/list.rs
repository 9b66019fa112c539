//! `GET /v1/visitors`: latest first.
//!
//! Invariant: a page is what reading every visitor in the list's order would fill it with. Agents who see much find theirs
//! among the first visitors; what others see is gathered by the indexes of conversations, however many visitors there are.

use axum::extract::State;
use bus_schema::{AgentId, ConversationId, GroupId, VisitorId};
use diesel::{
    BoxableExpression,
    dsl::sql,
    pg::Pg,
    prelude::*,
    sql_types::{Array, Bool, Uuid as UuidSql},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{At, Id, schema::chat::visitors};
use serde::Deserialize;

use super::{Row, VisitorRecord, online::own};
use crate::{
    access::Caller,
    app::App,
    conversations::Scope,
    http::{List, Page, Position, Problem, Query},
    read_model::{Applied, applied},
};

/// Visitors whose conversations are looked at, each by itself, for each one that is wanted.
const LOOKS_PER_ROW: i64 = 40;

type Rows = visitors::BoxedQuery<'static, Pg>;
type Condition = Box<dyn BoxableExpression<visitors::table, Pg, SqlType = Bool>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VisitorQuery {
    pub(super) limit: Option<usize>,
    pub(super) cursor: Option<String>,
    pub(super) min_seq: Option<u64>,
}

/// Visitors whose conversations the caller may see, latest first.
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<VisitorQuery>,
) -> Result<Applied<List<VisitorRecord>>, Problem> {
    let page = Page::of(query.limit, query.cursor.as_deref())?;
    let seq = applied(&app, &caller, query.min_seq).await?;
    let mut connection = app.within(caller.tenant).await?;
    let scope = Scope::of(&mut connection, &caller).await?;
    let rows = match &scope {
        Scope::Tenant => load(&mut connection, &page, in_order(&caller, &page)).await?,
        Scope::Agent { me, groups } => {
            match first_seen(&mut connection, &caller, &page, *me, groups).await? {
                Some(rows) => rows,
                None => {
                    let own = own(&mut connection, &caller, &scope).await?;
                    let theirs = gathered(&caller, own.into_iter().collect(), groups);
                    load(&mut connection, &page, in_order(&caller, &page).filter(theirs)).await?
                }
            }
        }
    };
    let place = |row: &Row| Position { at: row.last_seen_at.0, id: row.id.0.uuid() };
    Ok(Applied { seq, body: page.of_rows(rows, place, VisitorRecord::from) })
}

/// Everyone of the tenant, from where the page begins.
fn in_order(caller: &Caller, page: &Page) -> Rows {
    let mut rows = visitors::table
        .filter(visitors::tenant_id.eq(Id(caller.tenant)).and(visitors::erased_at.is_null()))
        .order((visitors::last_seen_at.desc(), visitors::id.desc()))
        .into_boxed();
    if let Some(Position { at, id }) = page.after {
        // The first of both is what an index can begin at.
        let after = visitors::last_seen_at.lt(At(at)).or(visitors::id.lt(Id(VisitorId::from_uuid(id))));
        rows = rows.filter(visitors::last_seen_at.le(At(at)).and(after));
    }
    rows
}

async fn load(connection: &mut AsyncPgConnection, page: &Page, rows: Rows) -> Result<Vec<Row>, Problem> {
    Ok(rows.limit(page.rows()).select(Row::as_select()).load(connection).await?)
}

/// The page, if the first visitors of the list fill it or are all that there are.
async fn first_seen(
    connection: &mut AsyncPgConnection,
    caller: &Caller,
    page: &Page,
    me: AgentId,
    groups: &[GroupId],
) -> Result<Option<Vec<Row>>, Problem> {
    let last: Option<At> = in_order(caller, page)
        .select(visitors::last_seen_at)
        .offset(page.rows() * LOOKS_PER_ROW)
        .limit(1)
        .get_result(connection)
        .await
        .optional()?;
    let mut rows = in_order(caller, page).filter(looked_at(me, groups));
    if let Some(last) = last {
        rows = rows.filter(visitors::last_seen_at.ge(last));
    }
    let found = load(connection, page, rows).await?;
    let is_full = i64::try_from(found.len()).is_ok_and(|found| found >= page.rows());
    Ok((is_full || last.is_none()).then_some(found))
}

/// Asked of each visitor by itself: `OFFSET` keeps Postgres from gathering all conversations for it.
fn looked_at(me: AgentId, groups: &[GroupId]) -> Condition {
    Box::new(
        sql::<Bool>(
            "EXISTS (SELECT FROM chat.conversations c WHERE c.tenant_id = chat.visitors.tenant_id \
             AND c.id = chat.visitors.conversation_id AND (c.assignee_id = ",
        )
        .bind::<UuidSql, _>(me.uuid())
        .sql(" OR c.participants @> ARRAY[")
        .bind::<UuidSql, _>(me.uuid())
        .sql("] OR c.group_id = ANY (")
        .bind::<Array<UuidSql>, _>(uuids(groups))
        .sql(")) OFFSET 0)"),
    )
}

/// The visitors of an agent's own conversations and of those of the groups.
fn gathered(caller: &Caller, own: Vec<ConversationId>, groups: &[GroupId]) -> Condition {
    let own: Vec<_> = own.into_iter().map(|id| id.uuid()).collect();
    Box::new(
        sql::<Bool>(
            "chat.visitors.id = ANY (ARRAY(SELECT c.visitor_id FROM chat.conversations c WHERE c.tenant_id = ",
        )
        .bind::<UuidSql, _>(caller.tenant.uuid())
        .sql(" AND c.id = ANY (")
        .bind::<Array<UuidSql>, _>(own)
        .sql(") UNION ALL SELECT g.visitor_id FROM chat.conversations g WHERE g.tenant_id = ")
        .bind::<UuidSql, _>(caller.tenant.uuid())
        .sql(" AND g.group_id = ANY (")
        .bind::<Array<UuidSql>, _>(uuids(groups))
        .sql(")))"),
    )
}

fn uuids(groups: &[GroupId]) -> Vec<uuid::Uuid> {
    groups.iter().map(|id| id.uuid()).collect()
}
