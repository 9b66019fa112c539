//! Filters of lists whose matches no index has in the list's order: words, and tags.
//!
//! Invariant: a page is what reading every conversation in the list's order would fill it with, as long as the
//! condition for all and the one for each say the same.

use bus_schema::ConversationId;
use diesel::{pg::Pg, prelude::*};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{At, Id, schema::chat::conversations};

use super::{mine::Condition, view::ConversationRow};
use crate::http::{Page, Problem};

/// Conversations that are looked into, each by itself, for each one that is wanted.
const LOOKS_PER_ROW: i64 = 40;

pub type Rows<'a> = conversations::BoxedQuery<'a, Pg>;

/// How the first conversations of the list are asked whether they pass, where some of them likely do.
pub enum First<'a> {
    /// Each by itself, until there are enough.
    Each(Condition),
    /// So many for each one that is wanted, all at once.
    Named { looks_per_row: i64, among: Box<dyn Fn(Vec<Id<ConversationId>>) -> Condition + Send + 'a> },
    /// They likely do not.
    None,
}

/// One condition in two forms.
pub struct Sieve<'a, G> {
    pub first: First<'a>,
    /// Gathers everything that passes first.
    pub gathered: G,
}

/// The page of the list that `rows` makes, latest activity first, of what passes.
///
/// What is common is in some of the first conversations; all else, and what is left, is gathered.
pub async fn load<'a, G: FnOnce() -> Condition>(
    connection: &mut AsyncPgConnection,
    page: &Page,
    rows: impl Fn() -> Rows<'a>,
    sieve: Sieve<'_, G>,
) -> Result<Vec<ConversationRow>, Problem> {
    let (first, is_all) = match sieve.first {
        First::Each(passes) => {
            let last: Option<At> = rows()
                .select(conversations::last_at)
                .offset(page.rows() * LOOKS_PER_ROW)
                .limit(1)
                .get_result(connection)
                .await
                .optional()?;
            let first = rows().filter(passes);
            match last {
                Some(last) => (Some(first.filter(conversations::last_at.ge(last))), false),
                None => (Some(first), true),
            }
        }
        First::Named { looks_per_row, among } => {
            let looks = page.rows() * looks_per_row;
            let ids: Vec<_> = rows().select(conversations::id).limit(looks).load(connection).await?;
            let is_all = i64::try_from(ids.len()).is_ok_and(|len| len < looks);
            (Some(rows().filter(among(ids))), is_all)
        }
        First::None => (None, false),
    };
    if let Some(first) = first {
        let found = first.limit(page.rows()).select(ConversationRow::as_select()).load(connection).await?;
        if is_all || i64::try_from(found.len()).is_ok_and(|found| found >= page.rows()) {
            return Ok(found);
        }
    }
    let rows = rows().filter((sieve.gathered)()).limit(page.rows());
    Ok(rows.select(ConversationRow::as_select()).load(connection).await?)
}
