//! `GET /v1/visitors/{id}/export`: everything about a visitor that is kept, as one document.
//!
//! Invariant: it is read and sent piece by piece, so a long conversation is never in memory; and a document that ends
//! well is whole: whatever fails on the way cuts the answer off.

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use bus_schema::{
    ConversationId, ErrorCode, TenantId, Timestamp, VisitorId,
    openapi::{Event, VisitorEvent},
};
use bytes::Bytes;
use diesel::{dsl::exists, prelude::*, select};
use diesel_async::RunQueryDsl;
use futures::stream::try_unfold;
use http::header;
use persister::db::{Id, schema::chat::visitors};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{OneQuery, VisitorRecord, records};
use crate::{
    access::Caller,
    app::App,
    audit_log::Audited,
    clock,
    conversations::{Lanes, Of, Scope, ThreadRecord, Way, page, record_page, threads_page},
    http::{PathId, Problem, Query},
    read_model::{applied, applied_header},
};

/// Threads or events that are read and sent at once; an event is at most 256 KiB.
const PIECE: usize = 100;

/// What the document begins with.
#[derive(Debug, Serialize, ToSchema)]
struct ExportHead {
    #[schema(value_type = String, format = DateTime)]
    exported_at: Timestamp,
    /// Events up to here are in it.
    applied_seq: i64,
    visitor: VisitorRecord,
}

/// All that is kept about a visitor: the shape of what is written piece by piece.
#[derive(Serialize, ToSchema)]
pub struct Export {
    #[serde(flatten)]
    head: ExportHead,
    /// Oldest first.
    threads: Vec<ThreadRecord>,
    /// What was said and done in the conversation, as stored and oldest first, what was hidden among it: messages with
    /// their edits and deletions, ratings, how far each has read, and what staff noted and tagged. Files are named, not
    /// in it. What was purged is gone, and why routing decided as it did is not about the visitor.
    #[schema(value_type = Vec<Event>)]
    events: Vec<Box<RawValue>>,
    /// How the record came to be: each time it was written, oldest first.
    #[schema(value_type = Vec<VisitorEvent>)]
    record_events: Vec<Box<RawValue>>,
}

pub async fn export(
    State(app): State<App>,
    caller: Caller,
    PathId(id): PathId<VisitorId>,
    Query(query): Query<OneQuery>,
) -> Result<Response, Problem> {
    let seq = applied(&app, &caller, query.min_seq).await?;
    let mut connection = app.within(caller.tenant).await?;
    let scope = Scope::of(&mut connection, &caller).await?;
    let visitor = records(&mut connection, &caller, &scope, &[id]).await?.pop();
    let visitor = visitor.ok_or_else(Problem::not_found)?;
    drop(connection);
    let mut change = app.change(caller.by()).await?;
    let noted = change.audit("exported", Audited::Visitor, id.uuid(), &[]).await;
    change.finish(noted).await?;
    let (tenant, conversation) = (caller.tenant, visitor.conversation_id);
    let head = ExportHead { exported_at: clock::now(), applied_seq: seq, visitor };
    let writing = Writing { app, tenant, visitor: id, conversation, seq, next: Next::Head(Box::new(head)) };
    let pieces = try_unfold(writing, |mut writing| async move {
        let piece = writing.piece().await;
        let piece = piece.inspect_err(|problem| tracing::warn!(%problem, "an export was cut off"))?;
        Ok::<_, Problem>(piece.map(|piece| (piece, writing)))
    });
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"visitor-{id}.json\"")),
    ];
    let mut response = (headers, Body::from_stream(pieces)).into_response();
    applied_header(&mut response, seq);
    Ok(response)
}

/// A document on its way.
struct Writing {
    app: App,
    tenant: TenantId,
    visitor: VisitorId,
    conversation: ConversationId,
    /// Up to where events are in it.
    seq: i64,
    next: Next,
}

/// What comes next; of a list, what is above the last that was written.
enum Next {
    Head(Box<ExportHead>),
    Threads(i64),
    Events(i64),
    RecordEvents(i64),
    Nothing,
}

impl Writing {
    /// The next bytes; none: that was all.
    async fn piece(&mut self) -> Result<Option<Bytes>, Problem> {
        let (bytes, next) = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Head(head) => {
                let mut bytes = json(&*head)?;
                bytes.pop();
                bytes.extend_from_slice(br#","threads":["#);
                (bytes, Next::Threads(0))
            }
            Next::Threads(after) => {
                let mut connection = self.app.within(self.tenant).await?;
                let threads =
                    threads_page(&mut connection, (self.tenant, self.conversation), after, PIECE).await?;
                drop(connection);
                let last = threads.last().map(|(seq, _)| *seq);
                let written =
                    threads.iter().map(|(_, thread)| json(thread)).collect::<Result<Vec<_>, _>>()?;
                match last {
                    Some(last) => (listed(&written, after), Next::Threads(last)),
                    None => (br#"],"events":["#.to_vec(), Next::Events(0)),
                }
            }
            Next::Events(after) => {
                let of = Of {
                    tenant: self.tenant,
                    conversation: self.conversation,
                    thread: None,
                    lanes: Lanes::Unrouted,
                };
                let mut connection = self.app.within(self.tenant).await?;
                let (found, _) = page(&mut connection, of, Way::After(after), PIECE).await?;
                drop(connection);
                match self.up_to_date(&found) {
                    (written, Some(last)) => (listed(&written, after), Next::Events(last)),
                    (_, None) => (br#"],"record_events":["#.to_vec(), Next::RecordEvents(0)),
                }
            }
            Next::RecordEvents(after) => {
                let mut connection = self.app.within(self.tenant).await?;
                let found = record_page(&mut connection, self.tenant, self.visitor, after, PIECE).await?;
                drop(connection);
                match self.up_to_date(&found) {
                    (written, Some(last)) => (listed(&written, after), Next::RecordEvents(last)),
                    (_, None) => {
                        self.must_still_be_there().await?;
                        (b"]}".to_vec(), Next::Nothing)
                    }
                }
            }
            Next::Nothing => return Ok(None),
        };
        self.next = next;
        Ok(Some(bytes.into()))
    }

    /// What of this was applied when the document began, and the last of it.
    fn up_to_date<'a>(&self, found: &'a [(i64, Box<RawValue>)]) -> (Vec<&'a [u8]>, Option<i64>) {
        let found = || found.iter().take_while(|(seq, _)| *seq <= self.seq);
        (found().map(|(_, event)| event.get().as_bytes()).collect(), found().last().map(|(seq, _)| *seq))
    }

    /// Of who was forgotten meanwhile pieces may be missing.
    async fn must_still_be_there(&self) -> Result<(), Problem> {
        let there =
            visitors::table.find((Id(self.tenant), Id(self.visitor))).filter(visitors::erased_at.is_null());
        let there: bool = select(exists(there)).get_result(&mut self.app.within(self.tenant).await?).await?;
        if there { Ok(()) } else { Err(ErrorCode::NotFound.into()) }
    }
}

/// Items of a list of which some were written before, unless `after` is where it begins.
fn listed(items: &[impl AsRef<[u8]>], after: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (n, item) in items.iter().enumerate() {
        if n > 0 || after > 0 {
            bytes.push(b',');
        }
        bytes.extend_from_slice(item.as_ref());
    }
    bytes
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(value).map_err(|error| Problem::fault("write an export", &error))
}
