//! Events of a conversation or thread, as they were stored.

use axum::extract::State;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bus_schema::{ConversationId, TenantId, ThreadId, VisitorId, limits, openapi::Event, splice::splice};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use persister::db::{
    At, Id,
    schema::chat::{events, threads},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::get::visible;
use crate::{
    access::Caller,
    app::App,
    http::{PathId, Problem, Query},
    read_model::{Applied, applied},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    limit: Option<usize>,
    cursor: Option<String>,
    before_seq: Option<u64>,
    after_seq: Option<u64>,
    min_seq: Option<u64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct EventList {
    /// Oldest first.
    #[schema(value_type = Vec<Event>)]
    pub data: Vec<Box<RawValue>>,
    pub next_cursor: Option<String>,
    pub has_more: bool,
}

/// Which way a list goes, and from where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The earliest above it.
    After(i64),
    /// The latest below it.
    Before(i64),
}

fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

impl Way {
    fn of(query: &EventQuery) -> Result<Self, Problem> {
        match (&query.cursor, query.before_seq, query.after_seq) {
            (Some(cursor), None, None) => Self::parse(cursor)
                .ok_or_else(|| Problem::malformed("/query/cursor", "is no cursor of this list")),
            (None, before, after) if before.is_none() || after.is_none() => Ok(Way::between(before, after)),
            _ => Err(Problem::malformed("/query", "take one of cursor, before_seq and after_seq")),
        }
    }

    /// Below the one, or above the other.
    pub fn between(before: Option<u64>, after: Option<u64>) -> Self {
        match before {
            Some(before) => Way::Before(number(before)),
            None => Way::After(number(after.unwrap_or(0))),
        }
    }

    fn parse(cursor: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (way, seq) = bytes.split_first()?;
        let seq = i64::from_be_bytes(seq.try_into().ok()?);
        match way {
            b'a' => Some(Way::After(seq)),
            b'b' => Some(Way::Before(seq)),
            _ => None,
        }
    }

    fn cursor(self) -> String {
        let (way, seq) = match self {
            Way::After(seq) => (b'a', seq),
            Way::Before(seq) => (b'b', seq),
        };
        let mut bytes = vec![way];
        bytes.extend_from_slice(&seq.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// Whose events.
#[derive(Debug, Clone, Copy)]
pub struct Of {
    pub tenant: TenantId,
    pub conversation: ConversationId,
    pub thread: Option<ThreadId>,
    pub lanes: Lanes,
}

/// The lanes of a conversation as the read model names them.
pub(super) mod lanes {
    pub const LIFE: &str = "life";
    pub const MSG: &str = "msg";
    pub const MARK: &str = "mark";
    pub const NOTE: &str = "note";
    pub const DESK: &str = "desk";
}

/// Which of its lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lanes {
    All,
    /// What the visitor sees.
    Public,
    /// What staff are shown of a thread: all but how far each has read.
    Unmarked,
    /// What is about the visitor: all but routing.
    Unrouted,
}

type EventRow = (i64, At, Option<String>);

/// A page in order; whether there is more in its direction.
pub async fn page(
    connection: &mut AsyncPgConnection,
    of: Of,
    from: Way,
    limit: usize,
) -> Result<(Vec<(i64, Box<RawValue>)>, bool), Problem> {
    let mut rows = events::table
        .filter(events::tenant_id.eq(Id(of.tenant)).and(events::conversation_id.eq(Id(of.conversation))))
        // Its bytes were purged: it is not there any more, and fills no page.
        .filter(events::payload.is_not_null())
        .limit(number(limit as u64 + 1))
        .select((events::seq, events::at, events::payload))
        .into_boxed();
    if let Some(thread) = of.thread {
        // Nothing of a thread is stored before what begins it. Marks, tags, ratings and edits may follow its end.
        let began = began(connection, of.tenant, thread).await?;
        rows = rows.filter(events::thread_id.eq(Id(thread)).and(events::seq.ge(began)));
    }
    rows = match of.lanes {
        Lanes::All => rows,
        Lanes::Public => rows.filter(events::lane.eq_any([lanes::LIFE, lanes::MSG, lanes::MARK])),
        Lanes::Unmarked => rows.filter(events::lane.ne(lanes::MARK)),
        Lanes::Unrouted => rows.filter(events::lane.ne(lanes::DESK)),
    };
    rows = match from {
        Way::After(seq) => rows.filter(events::seq.gt(seq)).order(events::seq.asc()),
        Way::Before(seq) => rows.filter(events::seq.lt(seq)).order(events::seq.desc()),
    };
    let mut rows: Vec<EventRow> = rows.load(connection).await?;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    if matches!(from, Way::Before(_)) {
        rows.reverse();
    }
    Ok((rows.into_iter().filter_map(shown).collect(), has_more))
}

/// The sequence of what began a thread.
async fn began(
    connection: &mut AsyncPgConnection,
    tenant: TenantId,
    thread: ThreadId,
) -> Result<i64, Problem> {
    let began = threads::table.find((Id(tenant), Id(thread))).select(threads::started_seq);
    Ok(began.first(connection).await.optional()?.unwrap_or(0))
}

/// How a visitor's record came to be: what follows `after`, oldest first.
pub async fn record_page(
    connection: &mut AsyncPgConnection,
    tenant: TenantId,
    visitor: VisitorId,
    after: i64,
    limit: usize,
) -> Result<Vec<(i64, Box<RawValue>)>, Problem> {
    let rows: Vec<EventRow> = events::table
        .filter(events::tenant_id.eq(Id(tenant)).and(events::subject_id.eq(visitor.uuid())))
        .filter(events::conversation_id.is_null().and(events::payload.is_not_null()))
        .filter(events::seq.gt(after))
        .order(events::seq)
        .limit(number(limit as u64))
        .select((events::seq, events::at, events::payload))
        .load(connection)
        .await?;
    Ok(rows.into_iter().filter_map(shown).collect())
}

/// None: its bytes were purged.
fn shown((seq, at, payload): EventRow) -> Option<(i64, Box<RawValue>)> {
    let bytes = splice(seq.unsigned_abs(), at.0, payload?.as_bytes());
    let raw = String::from_utf8(bytes).ok().and_then(|text| RawValue::from_string(text).ok())?;
    Some((seq, raw))
}

pub async fn events(
    State(app): State<App>,
    caller: Caller,
    PathId(conversation): PathId<ConversationId>,
    Query(query): Query<EventQuery>,
) -> Result<Applied<EventList>, Problem> {
    let from = Way::of(&query)?;
    let limit = limit(&query)?;
    let seq = applied(&app, &caller, query.min_seq).await?;
    let mut connection = app.within(caller.tenant).await?;
    visible(&mut connection, &caller, conversation).await?;
    let of = Of { tenant: caller.tenant, conversation, thread: None, lanes: Lanes::All };
    answer(&mut connection, of, from, limit, seq).await
}

pub async fn thread_events(
    State(app): State<App>,
    caller: Caller,
    PathId(thread): PathId<ThreadId>,
    Query(query): Query<EventQuery>,
) -> Result<Applied<EventList>, Problem> {
    let from = Way::of(&query)?;
    let limit = limit(&query)?;
    let seq = applied(&app, &caller, query.min_seq).await?;
    let mut connection = app.within(caller.tenant).await?;
    let conversation = conversation_of(&mut connection, &caller, thread).await?;
    visible(&mut connection, &caller, conversation).await?;
    let of = Of { tenant: caller.tenant, conversation, thread: Some(thread), lanes: Lanes::All };
    answer(&mut connection, of, from, limit, seq).await
}

fn limit(query: &EventQuery) -> Result<usize, Problem> {
    let limit = query.limit.unwrap_or(limits::PAGE_DEFAULT);
    let fits = (1..=limits::PAGE_MAX).contains(&limit);
    fits.then_some(limit).ok_or_else(|| Problem::malformed("/query/limit", "must be from 1 to 200"))
}

async fn answer(
    connection: &mut AsyncPgConnection,
    of: Of,
    from: Way,
    limit: usize,
    seq: i64,
) -> Result<Applied<EventList>, Problem> {
    let (found, has_more) = page(connection, of, from, limit).await?;
    let next = match from {
        Way::After(_) => found.last().map(|(seq, _)| Way::After(*seq)),
        Way::Before(_) => found.as_slice().first().map(|(seq, _)| Way::Before(*seq)),
    };
    let next_cursor = next.filter(|_| has_more).map(Way::cursor);
    let data = found.into_iter().map(|(_, event)| event).collect();
    Ok(Applied { seq, body: EventList { data, next_cursor, has_more } })
}

/// The conversation a thread belongs to.
pub(super) async fn conversation_of(
    connection: &mut AsyncPgConnection,
    caller: &Caller,
    thread: ThreadId,
) -> Result<ConversationId, Problem> {
    let found = threads::table
        .find((Id(caller.tenant), Id(thread)))
        .select(threads::conversation_id)
        .first::<Id<ConversationId>>(connection)
        .await
        .optional()?;
    found.map(|id| id.0).ok_or_else(Problem::not_found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_strangers_are_refused() {
        for from in [Way::After(0), Way::Before(i64::MAX), Way::After(4711)] {
            assert_eq!(Way::parse(&from.cursor()), Some(from));
        }
        for bad in ["", "x", "YQ", &Way::After(1).cursor()[1..]] {
            assert_eq!(Way::parse(bad), None, "{bad}");
        }
    }
}
