//! Filters of lists whose matches no index has in the list's order: words, and tags.
//!
//! Invariant: a page is what reading every conversation in the list's order would fill it with, as long as the
//! condition for all and the one for each say the same.

use std::time::Duration;

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
pub enum First {
    /// Each by itself, until there are enough.
    Each(Condition),
    /// Many at once.
    Lately(Lately),
    /// They likely do not.
    None,
}

/// A condition by what happened of late: the first conversations have mostly what happened since the last of them was
/// active, so that few of them are older than that and have to be named.
pub struct Lately {
    /// How many are the first.
    pub looks: i64,
    /// Whether all that happened since a sequence is little enough to be gathered.
    pub is_little: Box<dyn Fn(i64) -> bool + Send>,
    /// What these ones pass, and whatever else something happened in since a sequence.
    pub among: Box<dyn Fn(Vec<Id<ConversationId>>, i64) -> Condition + Send>,
}

/// More than these are not named: to gather everything is cheaper.
const NAMED_MAX: i64 = 5_000;
/// What began is told by a clock, what happened by a sequence.
const CLOCKS_DIFFER_MAX: Duration = Duration::from_secs(3600);

/// One condition in two forms.
pub struct Sieve<G> {
    pub first: First,
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
    sieve: Sieve<G>,
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
        First::Lately(lately) => passing(connection, &rows, lately).await?,
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

/// The first conversations that pass, if not too many would have to be named, and whether the first are all.
async fn passing<'a>(
    connection: &mut AsyncPgConnection,
    rows: impl Fn() -> Rows<'a>,
    lately: Lately,
) -> Result<(Option<Rows<'a>>, bool), Problem> {
    let columns = (conversations::id, conversations::last_at, conversations::last_seq);
    let last: Option<(Id<ConversationId>, At, i64)> =
        rows().select(columns).offset(lately.looks - 1).limit(1).get_result(connection).await.optional()?;
    let first = || match last {
        // Of those behind the last one the condition does not tell everything.
        Some((id, at, _)) => {
            let not_behind = conversations::last_at.gt(at).or(conversations::id.ge(id));
            rows().filter(conversations::last_at.ge(at).and(not_behind))
        }
        None => rows(),
    };
    let (since, before) = match last {
        Some((_, at, seq)) if (lately.is_little)(seq) => {
            let began = At(at.0.plus(CLOCKS_DIFFER_MAX));
            (seq, first().filter(conversations::created_at.le(began)))
        }
        _ => (i64::MAX, first()),
    };
    let named: Vec<_> = before.select(conversations::id).limit(NAMED_MAX + 1).load(connection).await?;
    let few = i64::try_from(named.len()).is_ok_and(|len| len <= NAMED_MAX);
    Ok((few.then(|| first().filter((lately.among)(named, since))), last.is_none()))
}
