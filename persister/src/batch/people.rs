//! Visitors and agents: whole states.

use bus_schema::{
    ConversationId, Subject,
    state::{AgentState, AgentStatus, RoutingStatus, VisitorRecord},
};

use super::{
    Entry,
    fold::Rows,
    text::{clean, clean_json},
};
use crate::{
    db::{At, Id},
    rows::{AgentStateRow, ErasureRow, VisitorRow},
};

pub fn visitor(rows: &mut Rows, entry: &Entry, record: &VisitorRecord) {
    let tenant = entry.event.tenant_id;
    let conversation = ConversationId::of(tenant, record.visitor_id);
    let key = (tenant, record.visitor_id.uuid());
    let first = rows.visitors.get(&key).map_or(At(entry.at), |row| row.first_seen_at);
    let text = |text: &Option<String>| text.as_deref().map(clean);
    let row = VisitorRow {
        tenant_id: Id(tenant),
        id: Id(record.visitor_id),
        conversation_id: Id(conversation),
        name: text(&record.name),
        email: text(&record.email),
        custom: clean_json(serde_json::to_string(&record.custom).expect("a map of texts is JSON")),
        external_id: text(&record.external_id),
        verified: record.verified,
        widget_id: record.widget_id.map(Id),
        page_url: record.page.as_ref().map(|page| clean(&page.url)),
        page_title: record.page.as_ref().and_then(|page| text(&page.title)),
        banned: record.ban.is_some(),
        banned_until: record.ban.as_ref().and_then(|ban| ban.until).map(At),
        banned_by: record.ban.as_ref().map(|ban| Id(ban.by)),
        // Who came back after it is there again.
        erased_at: record.erased_at.filter(|_| entry.erases()).map(At),
        first_seen_at: first,
        last_seen_at: At(entry.at),
        seq: entry.seq,
    };
    rows.visitors.insert(key, row);
    if entry.erases() {
        rows.erasures.push(ErasureRow {
            tenant_id: Id(tenant),
            visitor_id: Id(record.visitor_id),
            conversation_id: Id(conversation),
            seq: entry.seq,
        });
    }
}

pub fn agent(rows: &mut Rows, entry: &Entry, state: &AgentState) {
    let Subject::Agent { agent, .. } = entry.subject else { return };
    let tenant = entry.event.tenant_id;
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let row = AgentStateRow {
        tenant_id: Id(tenant),
        agent_id: Id(agent),
        seq: entry.seq,
        at: At(entry.at),
        status: status(state),
        chosen_status: match state.status {
            RoutingStatus::Accepting => "accepting",
            RoutingStatus::NotAccepting => "not_accepting",
        },
        capacity: number(state.capacity),
        load: number(state.load()),
        last_assigned_at: state.last_assigned_at.map(At),
        deleted: state.deleted,
    };
    rows.agents.insert((tenant, agent.uuid()), row);
}

fn status(state: &AgentState) -> &'static str {
    match state.seen_status() {
        AgentStatus::Accepting => "accepting",
        AgentStatus::NotAccepting => "not_accepting",
        AgentStatus::Offline => "offline",
    }
}
