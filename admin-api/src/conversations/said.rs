//! The filter of lists that keeps conversations in which words were said.
//!
//! Invariant: a page is what reading every conversation in the list's order would fill it with, up to
//! [`MATCHES_MAX`] matches of words that are not common lately.

use std::time::Duration;

use bus_schema::ConversationId;
use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{Array, BigInt, Bool, Double, Integer, Text, Uuid as UuidSql},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{At, Id};

use super::{
    mine::Condition,
    sift::{self, First, Place, Rows, Sieve},
    view::ConversationRow,
    words::{Likely, Words},
};
use crate::http::{Page, Problem};

/// The latest messages with rarer words that a list looks at.
const MATCHES_MAX: i32 = 50_000;
/// The share of the latest messages from which on words are common: some of the first conversations have them.
const COMMON: f64 = 0.005;
/// The share from which on it costs less to ask whether they are in hundreds or thousands of conversations than to
/// fetch every message that has them.
const MIDDLING: f64 = 0.0015;
/// Conversations that are looked up for each one that is wanted, times the share: twice as many as likely have one,
/// where a conversation has a dozen messages.
const LOOKS_PER_ROW: f64 = 0.15;

/// What began is told by a clock, what was said by a sequence.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(3600);

#[derive(QueryableByName)]
struct Lately {
    #[diesel(sql_type = Double)]
    share: f64,
}

/// The page of the list that `rows` makes, latest activity first, of what was said in these words.
pub async fn load<'a>(
    connection: &mut AsyncPgConnection,
    words: &Words,
    page: &Page,
    rows: impl Fn() -> Rows<'a>,
) -> Result<Vec<ConversationRow>, Problem> {
    let Likely { query, share } = words.likely(connection).await?;
    let lately = diesel::sql_query("SELECT chat.share_lately($1::tsquery) AS share").bind::<Text, _>(&query);
    let Lately { share: lately } = lately.get_result(connection).await?;
    let share = share.max(lately);
    let first = if lately >= COMMON {
        First::Each(looked_into(&query))
    } else if share >= MIDDLING {
        let looks_per_row = (LOOKS_PER_ROW / share).ceil() as i64;
        First::Named { looks_per_row, among: Box::new(|first| among(&query, share, first)) }
    } else {
        First::None
    };
    sift::load(connection, page, rows, Sieve { first, gathered: || by_index(&query) }).await
}

/// Whether something was said in a conversation, told of these ones.
fn among(query: &str, share: f64, first: &[Place]) -> Condition {
    let (since, named) = named(share, first);
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

/// Since when everything that was said is asked for, and the conversations that began before, which have to be named:
/// all of them, where that is cheaper.
///
/// The first conversations of a list have all that was said since the last of them was active, and mostly nothing else.
fn named(share: f64, first: &[Place]) -> (i64, Vec<Id<ConversationId>>) {
    let seqs = || first.iter().map(|place| place.last_seq);
    if let (Some(since), Some(end), Some(last)) = (seqs().min(), seqs().max(), first.last()) {
        // Of all tenants' events, as if all were messages.
        let matches = share * (end - since) as f64;
        if matches < first.len() as f64 {
            let began = At(last.last_at.0.plus(CLOCKS_DIFFER_MAX));
            let before = first.iter().filter(|place| place.created_at <= began);
            return (since, before.map(|place| place.id).collect());
        }
    }
    (i64::MAX, first.iter().map(|place| place.id).collect())
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

#[cfg(test)]
mod tests {
    use bus_schema::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn place(n: u32, began_minutes: i64, last_seq: i64) -> Place {
        let at = |minutes: i64| At(Timestamp::from_millis(1_795_222_923_004 + minutes * 60_000));
        let id = Id(ConversationId::from_uuid(Uuid::from_u128(n.into())));
        Place { id, created_at: at(began_minutes), last_at: at(last_seq), last_seq }
    }

    #[test]
    fn who_began_before_the_last_one_was_active_is_named() {
        let first = [place(1, 190, 200), place(2, 10, 190), place(3, 185, 188), place(4, 5, 120)];
        let (since, ids) = named(0.002, &first);
        assert_eq!((since, ids), (120, vec![first[1].id, first[3].id]));
        // An hour later is not later for sure.
        let (_, ids) = named(0.002, &[place(1, 181, 200), place(2, 180, 200), place(3, 0, 120)]);
        assert_eq!(ids.len(), 2);
    }

    #[test]
    fn where_more_was_said_since_than_conversations_are_to_be_named_all_are() {
        let first = [place(1, 190, 2_000_000), place(2, 10, 1_000)];
        assert_eq!(named(0.002, &first), (i64::MAX, vec![first[0].id, first[1].id]));
        assert_eq!(named(0.002, &[]), (i64::MAX, Vec::new()));
    }
}
