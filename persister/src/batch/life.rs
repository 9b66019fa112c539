//! Life events: conversations, threads, assignments.
//!
//! Invariant: a thread's beginning is the time and sequence of its `started` message, in whichever event it is
//! first seen.

use bus_schema::{
    AgentId, ConversationId,
    event::Body,
    state::{LifeState, StartSource, ThreadStatus},
};

use super::{Entry, fold::Rows, staff::count};
use crate::{
    db::{At, Id},
    rows::{AssignmentEndRow, AssignmentRow, ConversationRow, ThreadRow},
};

pub fn life(rows: &mut Rows, entry: &Entry, conversation: ConversationId, state: &LifeState) {
    upsert_conversation(rows, entry, conversation, state);
    upsert_thread(rows, entry, conversation, state);
    assignments(rows, entry, conversation, state);
    match &entry.event.body {
        Body::Started(_) | Body::Reopened(_) if state.started_seq.is_none() => {
            count(rows, entry, "threads_started")
        }
        Body::Closed(_) => count(rows, entry, "threads_closed"),
        _ => {}
    }
}

fn upsert_conversation(rows: &mut Rows, entry: &Entry, conversation: ConversationId, state: &LifeState) {
    let tenant = entry.event.tenant_id;
    let before = rows.conversations.get(&(tenant, conversation));
    let row = ConversationRow {
        tenant_id: Id(tenant),
        id: Id(conversation),
        visitor_id: Id(state.visitor_id),
        created_at: before.map_or(At(entry.at), |row| row.created_at),
        thread_id: Id(state.thread_id),
        status: state.status.name(),
        group_id: state.group_id.map(Id),
        assignee_id: state.assignee_id.map(Id),
        participants: array(&state.participants),
        life_seq: entry.seq,
        last_at: At(entry.at),
        last_seq: entry.seq,
    };
    rows.conversations.insert((tenant, conversation), row);
}

fn upsert_thread(rows: &mut Rows, entry: &Entry, conversation: ConversationId, state: &LifeState) {
    let tenant = entry.event.tenant_id;
    let started_seq = state.started_seq.and_then(|seq| i64::try_from(seq).ok());
    let now = At(entry.at);
    let fresh = ThreadRow {
        tenant_id: Id(tenant),
        id: Id(state.thread_id),
        conversation_id: Id(conversation),
        visitor_id: Id(state.visitor_id),
        widget_id: state.widget_id.map(Id),
        source: None,
        previous_thread_id: state.previous_thread_id.map(Id),
        status: state.status.name(),
        group_id: state.group_id.map(Id),
        assignee_id: state.assignee_id.map(Id),
        participants: array(&state.participants),
        life_seq: entry.seq,
        started_at: if started_seq.is_some() { At(state.started_at) } else { now },
        started_seq: started_seq.unwrap_or(entry.seq),
        first_queued_at: None,
        first_assigned_at: state.assignee_id.map(|_| now),
        closed_at: None,
        closed_seq: None,
        close_reason: None,
        closed_by_type: None,
        closed_by_id: None,
    };
    let mut row = match rows.threads.remove(&(tenant, state.thread_id)) {
        None => fresh,
        Some(before) => ThreadRow {
            widget_id: before.widget_id.or(fresh.widget_id),
            source: before.source,
            previous_thread_id: before.previous_thread_id.or(fresh.previous_thread_id),
            started_at: before.started_at,
            started_seq: before.started_seq,
            first_queued_at: before.first_queued_at,
            first_assigned_at: before.first_assigned_at.or(fresh.first_assigned_at),
            closed_at: before.closed_at,
            closed_seq: before.closed_seq,
            close_reason: before.close_reason,
            closed_by_type: before.closed_by_type,
            closed_by_id: before.closed_by_id,
            ..fresh
        },
    };
    match &entry.event.body {
        Body::Started(data) => {
            row.source.get_or_insert_with(|| word(&data.source));
            row.widget_id = row.widget_id.or_else(|| data.widget_id.map(Id));
        }
        Body::Reopened(_) => {
            row.source.get_or_insert_with(|| word(&StartSource::Reopened));
        }
        Body::Queued(_) => row.first_queued_at = row.first_queued_at.or(Some(now)),
        Body::Closed(data) if row.closed_at.is_none() => {
            row.closed_at = Some(now);
            row.closed_seq = Some(entry.seq);
            row.close_reason = Some(word(&data.reason));
            row.closed_by_type = Some(data.by.kind.name());
            row.closed_by_id = Some(data.by.id);
        }
        _ => {}
    }
    rows.threads.insert((tenant, state.thread_id), row);
}

fn assignments(rows: &mut Rows, entry: &Entry, conversation: ConversationId, state: &LifeState) {
    let agent = match &entry.event.body {
        Body::Assigned(data) => Some(data.agent_id),
        Body::Transferred(data) => data.to.agent_id,
        _ => None,
    };
    let closed = state.status == ThreadStatus::Closed;
    rows.assignment_ends.push(AssignmentEndRow {
        tenant_id: Id(entry.event.tenant_id),
        thread_id: Id(state.thread_id),
        seq: entry.seq,
        at: At(entry.at),
        ended_by: entry.event.body.name().to_owned(),
        keeps: if closed || agent.is_some() { None } else { state.assignee_id.map(Id) },
    });
    if let Some(agent) = agent {
        rows.assignments.push(AssignmentRow {
            tenant_id: Id(entry.event.tenant_id),
            seq: entry.seq,
            thread_id: Id(state.thread_id),
            conversation_id: Id(conversation),
            agent_id: Id(agent),
            group_id: state.group_id.map(Id),
            at: At(entry.at),
        });
        count(rows, entry, "assignments");
    }
}

/// The contract's word for one of a closed set.
pub fn word<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "unknown".to_owned(),
    }
}

/// A `uuid[]` literal.
fn array(agents: &[AgentId]) -> String {
    let list: Vec<String> = agents.iter().map(ToString::to_string).collect();
    format!("{{{}}}", list.join(","))
}
