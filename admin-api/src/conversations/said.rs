//! The filter of lists that keeps conversations in which words were said.
//!
//! Invariant: a page is what reading every conversation in the list's order would fill it with, up to
//! [`MATCHES_MAX`] matches of words that are not common lately.

use bus_schema::ConversationId;
use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{Array, BigInt, Bool, Double, Integer, Text, Uuid as UuidSql},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::Id;

use super::{
    mine::Condition,
    sift::{self, First, Lately, Rows, Sieve},
    view::ConversationRow,
    words::{Likely, Words},
};
use crate::http::{Page, Problem};

/// The latest messages with rarer words that a list looks at.
const MATCHES_MAX: i32 = 50_000;
/// The share of the latest messages from which on words are common: some of the first conversations have them.
const COMMON: f64 = 0.005;
/// As few messages as these are all fetched, as if all events were messages. Postgres guesses nearly so many of 10 million
/// for every word that is rarer than those it has counted, and most are much rarer.
const FEW: f64 = 6_000.0;
/// Conversations that are looked at for each one that is wanted, times the share: twice as many as likely have one,
/// where a conversation has a dozen messages.
const LOOKS_PER_ROW: f64 = 0.15;
/// Where more of them would have to be looked at, every message is fetched as well.
const LOOKS_MAX: f64 = 32_000.0;

#[derive(QueryableByName)]
struct Share {
    #[diesel(sql_type = Double)]
    share: f64,
}

/// The page of the list that `rows` makes, latest activity first, of what was said in these words up to `seq`.
pub async fn load<'a>(
    connection: &mut AsyncPgConnection,
    words: &Words,
    page: &Page,
    seq: i64,
    rows: impl Fn() -> Rows<'a>,
) -> Result<Vec<ConversationRow>, Problem> {
    let Likely { query, share } = words.likely(connection).await?;
    let lately = diesel::sql_query("SELECT chat.share_lately($1::tsquery) AS share").bind::<Text, _>(&query);
    let Share { share: lately } = lately.get_result(connection).await?;
    let share = share.max(lately);
    let looks = (LOOKS_PER_ROW / share).ceil() * page.rows() as f64;
    // Of all tenants' events up to `seq`, as if all were messages.
    let first = if lately >= COMMON {
        First::Each(looked_into(&query))
    } else if share * seq as f64 > FEW && looks <= LOOKS_MAX {
        First::Lately(said_lately(&query, share, looks, seq))
    } else {
        First::None
    };
    sift::load(connection, page, rows, Sieve { first, gathered: || by_index(&query) }).await
}

fn said_lately(query: &str, share: f64, looks: f64, seq: i64) -> Lately {
    let query = query.to_owned();
    Lately {
        looks: looks as i64,
        // A match costs no less than a conversation that is named.
        is_little: Box::new(move |since| share * (seq as f64 - since as f64) < looks),
        among: Box::new(move |named, since| among(&query, named, since)),
    }
}

/// Both indexes are asked: that of words for these conversations and, with that of ages, for what was said since.
fn among(query: &str, named: Vec<Id<ConversationId>>, since: i64) -> Condition {
    Box::new(
        sql::<Bool>("chat.conversations.id = ANY (ARRAY(SELECT chat.said_in(")
            .bind::<Text, _>(query.to_owned())
            .sql("::tsquery, ")
            .bind::<Array<UuidSql>, _>(named)
            .sql(", ")
            .bind::<BigInt, _>(since)
            .sql(")))"),
    )
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
