//! Routing as staff see it, and the counters.

use bus_schema::{
    ConversationId,
    event::Body,
    state::{DeskState, Priority},
};

use super::{Entry, fold::Rows, life::word, text::clean_json};
use crate::{
    db::{At, Id},
    rows::{CounterRow, DecisionRow, DeskRow},
};

pub fn desk(rows: &mut Rows, entry: &Entry, conversation: ConversationId, state: &DeskState) {
    let tenant = entry.event.tenant_id;
    let queue = state.queue.as_ref();
    let row = DeskRow {
        tenant_id: Id(tenant),
        id: Id(state.thread_id),
        desk_seq: entry.seq,
        priority: match state.priority {
            Priority::Low => "low",
            Priority::Normal => "normal",
            Priority::High => "high",
            Priority::Urgent => "urgent",
        },
        waiting_since: queue.map(|queue| At(queue.since)),
        waiting_reason: queue.map(|queue| word(&queue.reason)),
        waiting_group_id: queue.and_then(|queue| queue.group_id).map(Id),
    };
    rows.desks.insert((tenant, state.thread_id), row);
    let Body::Decided(data) = &entry.event.body else { return };
    let decision = &data.decision;
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    rows.decisions.push(DecisionRow {
        tenant_id: Id(tenant),
        seq: entry.seq,
        at: At(entry.at),
        conversation_id: Id(conversation),
        thread_id: Id(state.thread_id),
        strategy: decision.strategy.map(|strategy| strategy.name()),
        rule: word(&decision.rule),
        chosen_id: decision.chosen.map(Id),
        config_revision: number(decision.config_revision),
        waiting_since: decision.waiting_since.map(At),
        took_us: number(decision.took_us),
        decision: clean_json(
            serde_json::to_string(decision).expect("a decision holds ids, numbers and words"),
        ),
    });
}

/// One more of `metric` on the event's day.
pub fn count(rows: &mut Rows, entry: &Entry, metric: &'static str) {
    let (tenant, day) = (entry.event.tenant_id, At(entry.at).chrono().date_naive());
    let zero = || CounterRow { tenant_id: Id(tenant), day, metric, n: 0 };
    rows.counters.entry((tenant, day, metric)).or_insert_with(zero).n += 1;
}
