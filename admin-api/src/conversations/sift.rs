//! Filters of lists whose matches no index has in the list's order: words, and tags.
//!
//! Invariant: a page is what reading every conversation in the list's order would fill it with, as long as the
//! condition for all and the one for each say the same.

use diesel::{pg::Pg, prelude::*};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{At, schema::chat::conversations};

use super::{mine::Condition, view::ConversationRow};
use crate::http::{Page, Problem};

/// Conversations that are looked into for each one that is wanted. A word that Postgres calls common stands in one of
/// 400 messages or more.
const LOOKS_PER_ROW: i64 = 40;

pub type Rows<'a> = conversations::BoxedQuery<'a, Pg>;

/// One condition in two forms.
pub struct Sieve<L, G> {
    /// Whether so many conversations pass that some of the first ones likely do.
    pub common: bool,
    /// Asked of each conversation by itself.
    pub looked_into: L,
    /// Gathers everything that passes first.
    pub gathered: G,
}

/// The page of the list that `rows` makes, latest activity first, of what passes.
///
/// What is common is in some of the first conversations; all else, and what is left, is gathered.
pub async fn load<'a, L: FnOnce() -> Condition, G: FnOnce() -> Condition>(
    connection: &mut AsyncPgConnection,
    page: &Page,
    rows: impl Fn() -> Rows<'a>,
    sieve: Sieve<L, G>,
) -> Result<Vec<ConversationRow>, Problem> {
    if sieve.common {
        let last: Option<At> = rows()
            .select(conversations::last_at)
            .offset(page.rows() * LOOKS_PER_ROW)
            .limit(1)
            .get_result(connection)
            .await
            .optional()?;
        let mut first = rows().filter((sieve.looked_into)());
        if let Some(last) = last {
            first = first.filter(conversations::last_at.ge(last));
        }
        let found = first.limit(page.rows()).select(ConversationRow::as_select()).load(connection).await?;
        if last.is_none() || i64::try_from(found.len()).is_ok_and(|found| found >= page.rows()) {
            return Ok(found);
        }
    }
    let rows = rows().filter((sieve.gathered)()).limit(page.rows());
    Ok(rows.select(ConversationRow::as_select()).load(connection).await?)
}
