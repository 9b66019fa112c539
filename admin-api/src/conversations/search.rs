//! Full-text search over what was said, in one conversation or in all that the caller may see.
//!
//! Invariant: the scope is applied before the limit, so a page is full as long as there is more to be seen.

use axum::extract::State;
use bus_schema::{Author, ConversationId, EventId, ThreadId, Timestamp, Visibility, openapi::SaidKind};
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Bool, Double, Integer, Nullable, Text, Timestamptz, Uuid as UuidSql},
};
use diesel_async::RunQueryDsl;
use persister::db::{At, Id};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Scope,
    get::visible,
    words::{Likely, Words, wanted},
};
use crate::{
    access::Caller,
    app::App,
    db::meaning,
    http::{List, Page, PathId, Position, Problem, Query},
    read_model::{Applied, applied},
};

/// Around each match in what Postgres makes of a text; taken out of the text itself before.
const START: char = '\u{2}';
const STOP: char = '\u{3}';
/// For `<` and `>`, which Postgres would take for markup and leave out.
const LESS: char = '\u{4}';
const GREATER: char = '\u{5}';

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchQuery {
    q: String,
    limit: Option<usize>,
    cursor: Option<String>,
    min_seq: Option<u64>,
}

/// What is told of each of `m`, and what `q.query` makes of its text.
macro_rules! hit {
    ($($from:expr),+) => {
        concat!(
            "SELECT m.conversation_id, m.thread_id, m.id, m.seq, m.at, m.kind, m.author_type, m.author_id,
                m.visibility = 'agents' AS staff_only,
                ts_headline('simple', translate(m.text, E'<>\\x02\\x03', E'\\x04\\x05'), q.query,
                    E'StartSel=\\x02,StopSel=\\x03,' || CASE WHEN length(m.text) <= 300 THEN 'HighlightAll=true' \
             ELSE 'MaxFragments=2,FragmentDelimiter=\" … \"' END) AS headline ",
            $($from),+
        )
    };
}

/// `chat.found` walls the tenant in by itself.
const EVERYWHERE: &str = hit!(
    "FROM (SELECT $1::tsquery AS query) q CROSS JOIN chat.found(q.query, $2, $3, $4, $5, $6) f
     JOIN chat.messages m ON m.tenant_id = $7 AND m.conversation_id = f.conversation_id AND m.seq = f.seq
     ORDER BY m.seq DESC"
);

const IN_ONE: &str = hit!(
    "FROM (SELECT ",
    wanted!(),
    " AS query) q CROSS JOIN chat.messages m
     WHERE m.tenant_id = $4 AND m.conversation_id = $5 AND m.seq < $6 AND m.words @@ q.query
     ORDER BY m.seq DESC LIMIT $7"
);

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = UuidSql)]
    conversation_id: Id<ConversationId>,
    #[diesel(sql_type = Nullable<UuidSql>)]
    thread_id: Option<Id<ThreadId>>,
    #[diesel(sql_type = UuidSql)]
    id: Id<EventId>,
    #[diesel(sql_type = BigInt)]
    seq: i64,
    #[diesel(sql_type = Timestamptz)]
    at: At,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    author_type: String,
    #[diesel(sql_type = UuidSql)]
    author_id: Uuid,
    #[diesel(sql_type = Bool)]
    staff_only: bool,
    #[diesel(sql_type = Text)]
    headline: String,
}

/// Something that was said.
#[derive(Debug, Serialize, ToSchema)]
pub struct Hit {
    #[schema(value_type = uuid::Uuid)]
    pub conversation_id: ConversationId,
    #[schema(value_type = Option<uuid::Uuid>)]
    pub thread_id: Option<ThreadId>,
    #[schema(value_type = uuid::Uuid)]
    pub event_id: EventId,
    pub seq: i64,
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    #[schema(value_type = SaidKind)]
    pub kind: String,
    pub author: Author,
    /// `all`, or `agents` for notes.
    #[schema(value_type = Visibility)]
    pub visibility: &'static str,
    /// HTML: what was found stands in `<mark>`, everything else is escaped.
    pub highlight: String,
}

impl Row {
    fn hit(self) -> Result<Hit, Problem> {
        Ok(Hit {
            conversation_id: self.conversation_id.0,
            thread_id: self.thread_id.map(|id| id.0),
            event_id: self.id.0,
            seq: self.seq,
            at: self.at.0,
            kind: self.kind,
            author: Author { kind: meaning(&self.author_type)?, id: self.author_id },
            visibility: if self.staff_only { "agents" } else { "all" },
            highlight: marked(&self.headline),
        })
    }
}

fn marked(headline: &str) -> String {
    let mut out = String::with_capacity(headline.len() + 32);
    for c in headline.chars() {
        match c {
            START => out.push_str("<mark>"),
            STOP => out.push_str("</mark>"),
            '&' => out.push_str("&amp;"),
            '<' | LESS => out.push_str("&lt;"),
            '>' | GREATER => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// Whose conversations `chat.found` looks through: everybody's, or an agent's own and groups'.
fn bounds(scope: &Scope) -> (Option<Uuid>, Vec<Uuid>) {
    match scope {
        Scope::Tenant => (None, Vec::new()),
        Scope::Agent { me, groups } => (Some(me.uuid()), groups.iter().map(|group| group.uuid()).collect()),
    }
}

pub async fn search(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<SearchQuery>,
) -> Result<Applied<List<Hit>>, Problem> {
    let (words, page) = (Words::parse(&query.q)?, Page::of(query.limit, query.cursor.as_deref())?);
    let seq = applied(&app, &caller, query.min_seq).await?;
    let mut within = app.within(caller.tenant).await?;
    let (me, groups) = bounds(&Scope::of(&mut within, &caller).await?);
    let Likely { query, share } = words.likely(&mut within).await?;
    let rows: Vec<Row> = diesel::sql_query(EVERYWHERE)
        .bind::<Text, _>(query)
        .bind::<Double, _>(share)
        .bind::<BigInt, _>(page.below_seq())
        .bind::<Integer, _>(i32::try_from(page.rows()).unwrap_or(i32::MAX))
        .bind::<Nullable<UuidSql>, _>(me)
        .bind::<Array<UuidSql>, _>(groups)
        .bind::<UuidSql, _>(Id(caller.tenant))
        .load(&mut within)
        .await?;
    answer(&page, rows, seq)
}

pub async fn search_in(
    State(app): State<App>,
    caller: Caller,
    PathId(conversation): PathId<ConversationId>,
    Query(query): Query<SearchQuery>,
) -> Result<Applied<List<Hit>>, Problem> {
    let (words, page) = (Words::parse(&query.q)?, Page::of(query.limit, query.cursor.as_deref())?);
    let seq = applied(&app, &caller, query.min_seq).await?;
    let mut within = app.within(caller.tenant).await?;
    visible(&mut within, &caller, conversation).await?;
    let rows: Vec<Row> = diesel::sql_query(IN_ONE)
        .bind::<Text, _>(&words.all)
        .bind::<Text, _>(&words.head)
        .bind::<Text, _>(&words.prefix)
        .bind::<UuidSql, _>(Id(caller.tenant))
        .bind::<UuidSql, _>(Id(conversation))
        .bind::<BigInt, _>(page.below_seq())
        .bind::<BigInt, _>(page.rows())
        .load(&mut within)
        .await?;
    answer(&page, rows, seq)
}

fn answer(page: &Page, rows: Vec<Row>, seq: i64) -> Result<Applied<List<Hit>>, Problem> {
    let place = |row: &Row| Position::of_seq(row.at.0, row.seq);
    let list = page.of_rows(rows, place, Row::hit);
    let data = list.data.into_iter().collect::<Result<_, Problem>>()?;
    Ok(Applied { seq, body: List { data, next_cursor: list.next_cursor } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_found_is_markup() {
        assert_eq!(
            marked("<b>\u{2}ann\u{3}</b> & \"co\""),
            "&lt;b&gt;<mark>ann</mark>&lt;/b&gt; &amp; &quot;co&quot;"
        );
    }
}
