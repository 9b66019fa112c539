//! The filter of lists that keeps conversations in which words were said.
//!
//! Invariant: a page is what reading every conversation in the list's order would fill it with, up to
//! [`MATCHES_MAX`] matches of words that are not common.

use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{Bool, Integer, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::{
    mine::Condition,
    sift::{self, Rows, Sieve},
    view::ConversationRow,
    words::{Words, wanted},
};
use crate::http::{Page, Problem};

/// The latest messages with rarer words that a list looks at.
const MATCHES_MAX: i32 = 50_000;

#[derive(QueryableByName)]
struct Wanted {
    #[diesel(sql_type = Text)]
    query: String,
    #[diesel(sql_type = Bool)]
    common: bool,
}

/// The page of the list that `rows` makes, latest activity first, of what was said in these words.
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
    let sieve = Sieve { common, looked_into: || looked_into(&query), gathered: || by_index(&query) };
    sift::load(connection, page, rows, sieve).await
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
