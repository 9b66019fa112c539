//! Folding the new events of a batch into rows.
//!
//! Invariant: entries come in the order of the log and each once; whole states keep the last, firsts keep the
//! first, sums add up.

use std::collections::BTreeMap;

use bus_schema::{ConversationId, EventId, TagId, TenantId, ThreadId, event::Body};
use uuid::Uuid;

use super::{Entry, life, people, said, staff};
use crate::rows::{
    AgentStateRow, AssignmentEndRow, AssignmentRow, ConversationRow, CounterRow, DecisionRow, DeletionRow,
    DeskRow, EditRow, ErasureRow, MarkRow, MessageRow, PurgeRow, RatingRow, TagRow, TalkRow, ThreadRow,
    TouchRow, VisitorRow,
};

/// What a batch writes, but for the events themselves. Ordered maps, so that two runs write in the same order.
#[derive(Debug, Default)]
pub struct Rows {
    pub conversations: BTreeMap<(TenantId, ConversationId), ConversationRow>,
    pub threads: BTreeMap<(TenantId, ThreadId), ThreadRow>,
    pub touches: BTreeMap<(TenantId, ConversationId), TouchRow>,
    pub talk: BTreeMap<(TenantId, ThreadId), TalkRow>,
    pub desks: BTreeMap<(TenantId, ThreadId), DeskRow>,
    pub assignments: Vec<AssignmentRow>,
    pub assignment_ends: Vec<AssignmentEndRow>,
    pub messages: Vec<MessageRow>,
    pub edits: BTreeMap<(TenantId, ConversationId, EventId), EditRow>,
    pub deletions: BTreeMap<(TenantId, ConversationId, EventId), DeletionRow>,
    pub purges: Vec<PurgeRow>,
    pub marks: BTreeMap<(TenantId, ConversationId, &'static str, Uuid), MarkRow>,
    pub ratings: BTreeMap<(TenantId, ThreadId), RatingRow>,
    pub tags: BTreeMap<(TenantId, ThreadId, TagId), TagRow>,
    pub decisions: Vec<DecisionRow>,
    pub visitors: BTreeMap<(TenantId, Uuid), VisitorRow>,
    pub agents: BTreeMap<(TenantId, Uuid), AgentStateRow>,
    pub counters: BTreeMap<(TenantId, chrono::NaiveDate, &'static str), CounterRow>,
    pub erasures: Vec<ErasureRow>,
    /// Kinds of a newer neighbour: kept as events, projected by nobody.
    pub unknown: usize,
}

/// The rows of these entries.
pub fn fold<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Rows {
    let mut rows = Rows::default();
    for entry in entries {
        rows.add(entry);
    }
    rows
}

impl Rows {
    fn add(&mut self, entry: &Entry) {
        let body = &entry.event.body;
        if let Some((conversation, _)) = entry.subject.conversation() {
            if let Some(state) = body.life_state() {
                life::life(self, entry, conversation, state);
            } else if let Some(state) = body.desk_state() {
                staff::desk(self, entry, conversation, state);
            } else {
                said::said(self, entry, conversation);
            }
        } else if let Some(record) = body.visitor_record() {
            people::visitor(self, entry, record);
        } else if let Some(state) = body.agent_state() {
            people::agent(self, entry, state);
        }
        self.unknown += usize::from(matches!(body, Body::Unknown { .. }));
    }
}
