//! The filter of lists that keeps conversations in which words were said.
//!
//! Invariant: a page is what reading every conversation in the list's order would fill it with, up to
//! [`MATCHES_MAX`] matches of words that are not common.

use diesel::{
    BoxableExpression,
    dsl::sql,
    pg::Pg,
    prelude::*,
    sql_types::{Bool, Integer, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{At, schema::chat::conversations};

use super::{
    view::ConversationRow,
    words::{Words, wanted},
};
use crate::http::{Page, Problem};

/// Conversations that are looked into for each one that is wanted. A word that Postgres calls common stands in one of
/// 400 messages or more.
const LOOKS_PER_ROW: i64 = 40;
/// The latest messages with rarer words that a list looks at.
const MATCHES_MAX: i32 = 50_000;

type Rows<'a> = conversations::BoxedQuery<'a, Pg>;
type Condition = Box<dyn BoxableExpression<conversations::table, Pg, SqlType = Bool>>;

#[derive(QueryableByName)]
struct Wanted {
    #[diesel(sql_type = Text)]
    query: String,
    #[diesel(sql_type = Bool)]
    common: bool,
}

/// The page of the list that `rows` makes, latest activity first, of what was said in these words.
///
/// Common words are in some of the first conversations; all others, and what is left, the index of words tells.
pub async fn load<'a>(
    connection: &mut AsyncPgConnection,
    words: &Words,
    page: &Page,
    rows: impl Fn() -> Rows<'a>,
) -> Result<Vec<ConversationRow>, Problem> {
    let ask = concat!(
        "SELECT q.query::text AS query, chat.is_common(q.query) AS common FROM (SELECT ",
        wanted!(),
        " AS query) q"
    );
    let Wanted { query, common } = diesel::sql_query(ask)
        .bind::<Text, _>(&words.all)
        .bind::<Text, _>(&words.head)
        .bind::<Text, _>(&words.prefix)
        .get_result(connection)
        .await?;
    if common {
        let last: Option<At> = rows()
            .select(conversations::last_at)
            .offset(page.rows() * LOOKS_PER_ROW)
            .limit(1)
            .get_result(connection)
            .await
            .optional()?;
        let mut first = rows().filter(looked_into(&query));
        if let Some(last) = last {
            first = first.filter(conversations::last_at.ge(last));
        }
        let found = first.limit(page.rows()).select(ConversationRow::as_select()).load(connection).await?;
        if last.is_none() || i64::try_from(found.len()).is_ok_and(|found| found >= page.rows()) {
            return Ok(found);
        }
    }
    let rows = rows().filter(by_index(&query)).limit(page.rows());
    Ok(rows.select(ConversationRow::as_select()).load(connection).await?)
}

/// Asked of each conversation by itself: `OFFSET` keeps Postgres from gathering all messages for it.
fn looked_into(query: &str) -> Condition {
    Box::new(
        sql::<Bool>(
            "EXISTS (SELECT FROM chat.messages m WHERE m.tenant_id = chat.conversations.tenant_id \
             AND m.conversation_id = chat.conversations.id AND m.words @@ ",
        )
        .bind::<Text, _>(query.to_owned())
        .sql("::tsquery OFFSET 0)"),
    )
}

/// `chat.found_by_index` walls the tenant in by itself.
fn by_index(query: &str) -> Condition {
    Box::new(
        sql::<Bool>(
            "chat.conversations.id = ANY (ARRAY(SELECT DISTINCT f.conversation_id FROM chat.found_by_index(",
        )
        .bind::<Text, _>(query.to_owned())
        .sql(&format!("::tsquery, {}, ", i64::MAX))
        .bind::<Integer, _>(MATCHES_MAX)
        .sql(") f))"),
    )
}
