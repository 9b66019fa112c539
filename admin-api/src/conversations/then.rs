//! `GET /v1/conversations/{id}?at_seq=` and `?at=`: a conversation as it was then, from its events alone.
//!
//! Invariant: who may see it is judged by how it is now; nothing that was stored later shows.

use bus_schema::{ConversationId, Event, Timestamp, limits::SNAPSHOT_EVENTS_MAX, state::VisitorRecord};
use diesel::{dsl::min, prelude::*};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use ops::chat::Life;
use persister::db::{At, Id, schema::chat::events};

use super::{
    events::{Lanes, Of, Way, lanes, page},
    fold::Span,
    view::{ConversationDetail, ConversationRow, ConversationView, ThreadShown, VisitorShown},
};
use crate::{access::Caller, http::Problem};

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
    let span = Span { tenant, conversation: Id(id), thread: state.thread_id, from: started, to: seq };
    // The state itself has the writer's clock in its first message.
    let started_at = span.first_at(connection).await?.unwrap_or(state.started_at);
    let folded = span.fold(connection).await?;
    let last = span.last_seen(connection).await?;
    let begun: Option<At> =
        events::table.filter(of_conversation).select(min(events::at)).first(connection).await?;
    let visitor = visitor(connection, caller, &now, seq).await?;
    let me = caller.author();
    let takes_part = state.assignee_id == Some(caller.agent) || state.participants.contains(&caller.agent);
    let unread = if takes_part { span.unread(connection, me, folded.read_by(me)).await? } else { 0 };
    let conversation = ConversationView {
        id,
        visitor,
        thread: ThreadShown {
            id: state.thread_id,
            status: state.status,
            group_id: state.group_id,
            assignee_id: state.assignee_id,
            started_at,
            waiting_since: None,
            queue: None,
            tags: folded.tags.iter().copied().collect(),
        },
        unread,
        participants: state.participants,
        marks: folded.marks(),
        created_at: begun.map_or(now.created_at.0, |at| at.0),
        last_at: last.map_or(now.created_at.0, |(_, at)| at.0),
        last_seq: last.map_or(life_seq, |(seq, _)| seq),
    };
    let of =
        Of { tenant: caller.tenant, conversation: id, thread: Some(state.thread_id), lanes: Lanes::Unmarked };
    let way = Way::Before(seq.saturating_add(1));
    let (events, has_more) = page(connection, of, way, SNAPSHOT_EVENTS_MAX).await?;
    let events = events.into_iter().map(|(_, event)| event).collect();
    Ok(ConversationDetail { conversation, events, has_more })
}

/// The visitor as they were known then.
async fn visitor(
    connection: &mut AsyncPgConnection,
    caller: &Caller,
    now: &ConversationRow,
    seq: i64,
) -> Result<VisitorShown, Problem> {
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
    Ok(VisitorShown {
        id: record.visitor_id,
        name: record.name,
        email: record.email,
        custom: Some(record.custom),
        online: None,
    })
}
