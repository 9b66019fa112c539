//! `GET /v1/conversations/{id}?at_seq=` and `?at=`: a conversation as it was then, from its events alone.
//!
//! Invariant: who may see it is judged by how it is now; nothing that was stored later shows.

use std::collections::{BTreeMap, BTreeSet};

use bus_schema::{
    Author, AuthorType, Body, ConversationId, Event, Lane, TagId, Timestamp,
    event::Kind,
    limits::SNAPSHOT_EVENTS_MAX,
    protocol::{MarkView, ThreadView, VisitorView},
    state::VisitorRecord,
};
use diesel::{dsl::min, prelude::*};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use ops::chat::{Life, Marked};
use persister::db::{At, Id, schema::chat::events};

use super::{
    events::{Lanes, Of, Way, lanes, page},
    view::{ConversationDetail, ConversationRow, ConversationView},
};
use crate::{access::Caller, http::Problem};

/// Events of a thread that are read to sum up its tags, marks and unread messages.
const FOLDED_MAX: i64 = 20_000;

/// The sequence that was the newest of the conversation at an instant.
pub async fn seq_at(
    connection: &mut AsyncPgConnection,
    caller: &Caller,
    id: ConversationId,
    at: Timestamp,
) -> Result<i64, Problem> {
    let newest: Option<i64> = events::table
        .filter(events::tenant_id.eq(Id(caller.tenant)).and(events::conversation_id.eq(Id(id))))
        .filter(events::at.le(At(at)))
        .order(events::seq.desc())
        .select(events::seq)
        .first(connection)
        .await
        .optional()?;
    newest.ok_or_else(Problem::not_found)
}

/// The conversation after the event `seq`; `not_found` if it had not begun.
pub async fn as_of(
    connection: &mut AsyncPgConnection,
    caller: &Caller,
    now: ConversationRow,
    seq: i64,
) -> Result<ConversationDetail, Problem> {
    let (id, tenant) = (now.id.0, Id(caller.tenant));
    let of_conversation = events::tenant_id.eq(tenant).and(events::conversation_id.eq(Id(id)));
    let life: Option<(i64, Option<String>)> = events::table
        .filter(of_conversation.and(events::lane.eq(lanes::LIFE)).and(events::seq.le(seq)))
        .order(events::seq.desc())
        .select((events::seq, events::payload))
        .first(connection)
        .await
        .optional()?;
    let (life_seq, payload) = life.ok_or_else(Problem::not_found)?;
    let life = Life::decode(life_seq.unsigned_abs(), payload.ok_or_else(Problem::not_found)?.as_bytes());
    let state = life.map_err(|error| Problem::fault("a stored life event", &*error))?.state;
    let started =
        i64::try_from(state.started_seq.unwrap_or_else(|| life_seq.unsigned_abs())).unwrap_or(i64::MAX);
    let rows: Vec<(i64, At, Option<String>)> = events::table
        .filter(of_conversation.and(events::seq.between(started, seq)))
        .order(events::seq.desc())
        .limit(FOLDED_MAX)
        .select((events::seq, events::at, events::payload))
        .load(connection)
        .await?;
    // The state itself has the writer's clock in its first message.
    let started_at =
        rows.last().filter(|(seq, ..)| *seq == started).map_or(state.started_at, |(_, at, _)| at.0);
    let mut then = Then::default();
    for (seq, at, payload) in rows.into_iter().rev() {
        then.add(seq.unsigned_abs(), at.0, payload.as_deref());
    }
    let begun: Option<At> =
        events::table.filter(of_conversation).select(min(events::at)).first(connection).await?;
    let visitor = visitor(connection, caller, &now, seq).await?;
    let me = caller.author();
    let takes_part = state.assignee_id == Some(caller.agent) || state.participants.contains(&caller.agent);
    let conversation = ConversationView {
        id,
        visitor,
        thread: ThreadView {
            id: state.thread_id,
            status: state.status,
            group_id: state.group_id,
            assignee_id: state.assignee_id,
            started_at,
            queue: None,
            tags: Some(then.tags.iter().copied().collect()),
        },
        unread: if takes_part { then.unread(me) } else { 0 },
        participants: state.participants,
        marks: then.marks(),
        created_at: begun.map_or(now.created_at.0, |at| at.0),
        last_at: then.last.map_or(now.created_at.0, |(_, at)| at),
        last_seq: then.last.map_or(life_seq, |(seq, _)| i64::try_from(seq).unwrap_or(i64::MAX)),
    };
    let of =
        Of { tenant: caller.tenant, conversation: id, thread: Some(state.thread_id), lanes: Lanes::Unmarked };
    let way = Way::Before(seq.saturating_add(1));
    let (events, has_more) = page(connection, of, way, SNAPSHOT_EVENTS_MAX).await?;
    let events = events.into_iter().map(|(_, event)| event).collect();
    Ok(ConversationDetail { conversation, events, has_more })
}

/// What a thread's events come to.
#[derive(Default)]
struct Then {
    tags: BTreeSet<TagId>,
    marks: BTreeMap<(AuthorType, uuid::Uuid), Marked>,
    /// Of what counts as unread: its sequence and author.
    said: Vec<(u64, Author)>,
    /// The last thing that participants see.
    last: Option<(u64, Timestamp)>,
}

impl Then {
    fn add(&mut self, seq: u64, at: Timestamp, payload: Option<&str>) {
        let Some(event) = payload.and_then(|payload| Event::decode(payload.as_bytes()).ok()) else { return };
        match &event.body {
            Body::Tagged(data) => drop(self.tags.insert(data.tag_id)),
            Body::Untagged(data) => drop(self.tags.remove(&data.tag_id)),
            body => {
                if let Some(mark) = Marked::of_body(body) {
                    let known = self.marks.entry((event.author.kind, event.author.id)).or_default();
                    *known = known.max(mark);
                    return;
                }
            }
        }
        let Some(kind) = event.body.kind() else { return };
        if matches!(kind, Kind::Message | Kind::RichMessage | Kind::File | Kind::Form) {
            self.said.push((seq, event.author));
        }
        let seen = matches!(kind.lane(event.visibility), Some(Lane::Life | Lane::Msg));
        if seen && (kind.ends_with_thread() || event.body.life_state().is_some()) {
            self.last = Some((seq, at));
        }
    }

    fn unread(&self, me: Author) -> u64 {
        let read = self.marks.get(&(me.kind, me.id)).map_or(0, |mark| mark.read);
        self.said.iter().filter(|(seq, author)| *seq > read && *author != me).count() as u64
    }

    fn marks(&self) -> Vec<MarkView> {
        let view = |(&(kind, id), mark): (&(AuthorType, uuid::Uuid), &Marked)| MarkView {
            author: Author { kind, id },
            delivered: mark.delivered,
            read: mark.read,
        };
        self.marks.iter().map(view).collect()
    }
}

/// The visitor as they were known then.
async fn visitor(
    connection: &mut AsyncPgConnection,
    caller: &Caller,
    now: &ConversationRow,
    seq: i64,
) -> Result<VisitorView, Problem> {
    let payload: Option<Option<String>> = events::table
        .filter(events::tenant_id.eq(Id(caller.tenant)).and(events::conversation_id.is_null()))
        .filter(events::subject_id.eq(now.visitor_id.0.uuid()).and(events::seq.le(seq)))
        .order(events::seq.desc())
        .select(events::payload)
        .first(connection)
        .await
        .optional()?;
    let event = payload.flatten().and_then(|payload| Event::decode(payload.as_bytes()).ok());
    let record = event.and_then(|event| event.body.visitor_record().cloned());
    let record = record.unwrap_or_else(|| VisitorRecord::new(now.visitor_id.0));
    Ok(VisitorView {
        id: record.visitor_id,
        name: record.name,
        email: record.email,
        custom: Some(record.custom),
        online: false,
    })
}
