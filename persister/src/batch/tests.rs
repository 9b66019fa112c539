//! The fold alone: what a batch keeps of what comes more than once.

use bus_schema::{
    AgentId, Author, Body, ConversationId, Event, EventId, Lane, Shard, Subject, TenantId, ThreadId,
    Timestamp, Visibility, VisitorId,
    event::*,
    state::{CloseReason, Extra, LifeState, StartSource, ThreadStatus},
};
use uuid::Uuid;

use super::{Batch, Entry, Rows, fold};
use crate::db::At;

const AGENT: AgentId = AgentId::from_uuid(Uuid::from_u128(7));

fn at(seq: i64) -> Timestamp {
    Timestamp::from_millis(1_000 * seq)
}

fn entry(seq: i64, lane: Lane, author: Author, body: Body) -> Entry {
    let (tenant, conversation) = (TenantId::NIL, ConversationId::NIL);
    let event = Event {
        id: EventId::from_uuid(Uuid::from_u128(seq.unsigned_abs().into())),
        cause: None,
        tenant_id: tenant,
        conversation_id: Some(conversation),
        thread_id: Some(ThreadId::NIL),
        author,
        client_id: None,
        visibility: Visibility::All,
        body,
    };
    let subject = Subject::Conversation { shard: Shard(0), tenant, conversation, lane };
    let payload = String::from_utf8(event.encode()).unwrap();
    Entry { seq, at: at(seq), subject, event, payload }
}

fn said(seq: i64, author: Author, text: &str) -> Entry {
    let body = Body::Message(Message { text: text.to_owned(), quick_replies: Vec::new() });
    entry(seq, Lane::Msg, author, body)
}

fn life(seq: i64, make: impl FnOnce(LifeState) -> Body) -> Entry {
    let state = LifeState {
        thread_id: ThreadId::NIL,
        status: ThreadStatus::Queued,
        group_id: None,
        assignee_id: None,
        participants: Vec::new(),
        started_at: at(1),
        started_seq: (seq > 1).then_some(1),
        visitor_id: VisitorId::NIL,
        widget_id: None,
        previous_thread_id: None,
        continues: false,
        extra: Extra::new(),
    };
    entry(seq, Lane::Life, Author::SYSTEM, make(state))
}

fn started() -> Entry {
    life(1, |state| {
        Body::Started(Started { group_id: None, widget_id: None, source: StartSource::Api, state })
    })
}

fn assigned(seq: i64) -> Entry {
    life(seq, |state| {
        let state = LifeState {
            status: ThreadStatus::Active,
            assignee_id: Some(AGENT),
            participants: vec![AGENT],
            ..state
        };
        Body::Assigned(Assigned { agent_id: AGENT, group_id: None, state })
    })
}

fn closed(seq: i64, reason: CloseReason) -> Entry {
    life(seq, |state| {
        let state = LifeState { status: ThreadStatus::Closed, ..state };
        Body::Closed(Closed { by: Author::SYSTEM, reason, state })
    })
}

fn thread(rows: &Rows) -> &crate::rows::ThreadRow {
    rows.threads.values().next().unwrap()
}

#[test]
fn whole_states_keep_the_last_and_firsts_keep_the_first() {
    let entries =
        [started(), assigned(3), assigned(5), closed(7, CloseReason::Idle), closed(8, CloseReason::Resolved)];
    let rows = fold(&entries);
    let thread = thread(&rows);
    assert_eq!((thread.status, thread.life_seq), ("closed", 8));
    assert_eq!((thread.started_seq, thread.started_at), (1, At(at(1))));
    assert_eq!(thread.source.as_deref(), Some("api"));
    assert_eq!(thread.first_assigned_at, Some(At(at(3))));
    assert_eq!((thread.closed_seq, thread.close_reason.as_deref()), (Some(7), Some("idle")));
    let conversation = rows.conversations.values().next().unwrap();
    assert_eq!((conversation.status, conversation.created_at), ("closed", At(at(1))));
    assert_eq!(rows.assignments.len(), 2);
    assert_eq!(rows.assignment_ends.len(), entries.len(), "each life event may end an assignment");
    let kept = rows.assignment_ends.iter().filter(|end| end.keeps.is_some()).count();
    assert_eq!(kept, 0, "an assignment ends the one before it, whoever had it");
}

#[test]
fn a_thread_first_seen_late_still_knows_its_beginning() {
    let rows = fold(&[assigned(9)]);
    assert_eq!((thread(&rows).started_seq, thread(&rows).started_at), (1, At(at(1))));
    assert_eq!(rows.counters.values().filter(|row| row.metric == "threads_started").count(), 0);
}

#[test]
fn talk_adds_up_and_the_first_answer_counts() {
    let (visitor, agent) = (Author::visitor(VisitorId::NIL), Author::agent(AGENT));
    let rows =
        fold(&[said(2, visitor, "a"), said(3, agent, "b"), said(4, agent, "c"), said(5, visitor, "d")]);
    let talk = rows.talk.values().next().unwrap();
    assert_eq!((talk.visitor_messages, talk.agent_messages), (2, 2));
    assert_eq!(talk.first_response_at, Some(At(at(3))));
    assert_eq!(rows.touches.values().next().unwrap().seq, 5);
}

#[test]
fn the_last_edit_counts_and_none_after_a_deletion() {
    let target = EventId::from_uuid(Uuid::from_u128(2));
    let edit = |seq, text: &str| {
        let body = Body::MessageEdited(MessageEdited { target_id: target, text: text.to_owned() });
        entry(seq, Lane::Msg, Author::SYSTEM, body)
    };
    let delete = |seq| {
        let body = Body::MessageDeleted(MessageDeleted { target_id: target, purge: false });
        entry(seq, Lane::Msg, Author::SYSTEM, body)
    };
    let rows = fold(&[edit(3, "one"), edit(4, "two"), delete(5), edit(6, "three"), delete(7)]);
    assert_eq!(rows.edits.values().map(|row| row.text.as_str()).collect::<Vec<_>>(), ["two"]);
    assert_eq!(rows.deletions.values().map(|row| row.seq).collect::<Vec<_>>(), [5]);
}

#[test]
fn marks_only_grow_and_unbounded_numbers_are_held() {
    let agent = Author::agent(AGENT);
    let read = |seq, up_to_seq| entry(seq, Lane::Mark, agent, Body::Read(Read { up_to_seq }));
    let rows = fold(&[read(2, 9), read(3, 4), read(4, u64::MAX)]);
    let mark = rows.marks.values().next().unwrap();
    assert_eq!((mark.read_seq, mark.delivered_seq, mark.seq), (i64::MAX, 0, 4));
    assert_eq!(mark.author_id, AGENT.uuid());
}

/// A batch of messages at these sequences; 0 stands for bytes that are no event.
fn batch(seqs: impl IntoIterator<Item = i64>) -> Batch {
    let author = Author::visitor(VisitorId::NIL);
    let mut batch = Batch::default();
    for (seq, readable) in seqs.into_iter().zip(1..).map(|(seq, place)| (place, seq > 0)) {
        let entry = said(seq, author, "text");
        let payload = if readable { entry.payload.into_bytes() } else { b"poison".to_vec() };
        batch.push(&ops::log::StoredMsg {
            subject: entry.subject.to_string(),
            seq: seq.unsigned_abs(),
            at: entry.at,
            headers: Default::default(),
            payload: payload.into(),
        });
    }
    batch
}

#[test]
fn halves_hold_together_what_the_whole_held_and_end_where_it_ended() {
    let whole = batch([1, 1, 0, 1, 1, 0]);
    assert_eq!((whole.entries.len(), whole.parked.len()), (4, 2));
    let end = whole.end.clone();
    let (front, back) = whole.halve().unwrap();
    let seqs = |batch: &Batch| batch.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>();
    assert_eq!((seqs(&front), seqs(&back)), (vec![1, 2], vec![4, 5]));
    assert_eq!(front.end.as_ref().map(|end| end.seq), Some(2));
    assert_eq!((front.parked.len(), back.parked.len()), (0, 2));
    assert_eq!(back.end, end);
    let (_, single) = back.halve().unwrap();
    let single = single.halve().unwrap_err();
    assert_eq!(seqs(&single), [5]);
    let parked = single.park("refused");
    assert_eq!(parked.parked.iter().map(|row| row.seq).collect::<Vec<_>>(), [6, 5]);
    assert_eq!((parked.entries.len(), &parked.end), (0, &end));
}
