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

/// Where a conversation stands in the list, and since when it can be there.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = conversations)]
pub struct Place {
    pub id: Id<ConversationId>,
    pub created_at: At,
    pub last_at: At,
    pub last_seq: i64,
}

pub type Rows<'a> = conversations::BoxedQuery<'a, Pg>;

/// Makes the condition that these conversations pass.
pub type Among<'a> = Box<dyn Fn(&[Place]) -> Condition + Send + 'a>;

/// How the first conversations of the list are asked whether they pass, where some of them likely do.
pub enum First<'a> {
    /// Each by itself, until there are enough.
    Each(Condition),
    /// So many for each one that is wanted, all at once; the condition may tell anything of others.
    Named { looks_per_row: i64, among: Among<'a> },
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
            let first: Vec<_> = rows().select(Place::as_select()).limit(looks).load(connection).await?;
            let is_all = i64::try_from(first.len()).is_ok_and(|len| len < looks);
            let mut passing = rows().filter(among(&first));
            if let Some(&Place { last_at, id, .. }) = first.last().filter(|_| !is_all) {
                // Of those behind the last one the condition may not tell everything.
                let not_behind = conversations::last_at.gt(last_at).or(conversations::id.ge(id));
                passing = passing.filter(conversations::last_at.ge(last_at).and(not_behind));
            }
            (Some(passing), is_all)
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
