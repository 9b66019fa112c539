//! The filter of lists that keeps conversations whose thread has a tag.

use bus_schema::{TagId, TenantId};
use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{Bool, Uuid as UuidSql},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{Id, schema::chat::tags};

use super::{
    mine::Condition,
    sift::{self, First, Rows, Sieve},
    view::ConversationRow,
};
use crate::http::{Page, Problem};

/// A tag of fewer threads is rare: they are gathered at once.
const COMMON: i64 = 1_000;

/// The page of the list that `rows` makes of what has `tag`.
pub async fn load<'a>(
    connection: &mut AsyncPgConnection,
    tenant: TenantId,
    tag: TagId,
    page: &Page,
    rows: impl Fn() -> Rows<'a>,
) -> Result<Vec<ConversationRow>, Problem> {
    let that_many: Option<Id<TagId>> = tags::table
        .filter(tags::tenant_id.eq(Id(tenant)).and(tags::tag_id.eq(Id(tag))).and(tags::present))
        .select(tags::tag_id)
        // As the index of tags has them: nothing else is read until there are that many.
        .order(tags::conversation_id)
        .offset(COMMON)
        .limit(1)
        .get_result(connection)
        .await
        .optional()?;
    let sieve = Sieve {
        first: if that_many.is_some() { First::Each(has(tag)) } else { First::None },
        gathered: || Box::new(among(tenant, tag).and(has(tag))) as Condition,
    };
    sift::load(connection, page, rows, sieve).await
}

/// Asked of each conversation by itself: `OFFSET` keeps Postgres from gathering all tags for it.
pub fn has(tag: TagId) -> Condition {
    Box::new(
        sql::<Bool>(
            "EXISTS (SELECT FROM chat.tags g WHERE g.tenant_id = chat.conversations.tenant_id \
             AND g.thread_id = chat.conversations.thread_id AND g.present AND g.tag_id = ",
        )
        .bind::<UuidSql, _>(tag.uuid())
        .sql(" OFFSET 0)"),
    )
}

/// Any of the conversation's threads had it.
fn among(tenant: TenantId, tag: TagId) -> Condition {
    Box::new(
        sql::<Bool>(
            "chat.conversations.id = ANY (ARRAY(SELECT g.conversation_id FROM chat.tags g \
             WHERE g.present AND g.tenant_id = ",
        )
        .bind::<UuidSql, _>(tenant.uuid())
        .sql(" AND g.tag_id = ")
        .bind::<UuidSql, _>(tag.uuid())
        .sql("))"),
    )
}
