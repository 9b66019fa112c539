//! The people and places of simulations and scenarios, by number, and the records and events they are made of.

use std::time::Duration;

use bus_schema::{
    AgentId, Author, Body, ConversationId, Epoch, Event, EventId, GroupId, IncarnationId, Lane, Shard,
    Subject, TenantId, ThreadId, Timestamp, Visibility, VisitorId,
    config::{AgentRecord, GroupRecord, Member, RoutingSettings, TenantRecord},
    event::{Message, Started},
    state::{Extra, LifeState, StartSource, Strategy, ThreadStatus},
};
use uuid::Uuid;

use crate::routing::Settings;

pub const TENANT: TenantId = TenantId::from_uuid(Uuid::from_u128(1));
pub const GRACE: Duration = Duration::from_secs(20);

pub fn agent(n: u128) -> AgentId {
    AgentId::from_uuid(Uuid::from_u128(0xA000 + n))
}

pub fn group(n: u128) -> GroupId {
    GroupId::from_uuid(Uuid::from_u128(0x6000 + n))
}

pub fn conversation(n: u128) -> ConversationId {
    ConversationId::of(TENANT, visitor(n))
}

pub fn visitor(n: u128) -> VisitorId {
    VisitorId::from_uuid(Uuid::from_u128(0x7000 + n))
}

#[cfg(test)]
pub fn edge(n: u128) -> IncarnationId {
    IncarnationId::from_uuid(Uuid::from_u128(0xE000 + n))
}

pub fn settings(incarnation: u128) -> Settings {
    Settings {
        shard: Shard(0),
        epoch: Epoch::from_uuid(Uuid::from_u128(99)),
        incarnation: IncarnationId::from_uuid(Uuid::from_u128(0xB000 + incarnation)),
        agent_grace: GRACE,
        open_max: None,
    }
}

pub fn life_subject(id: ConversationId) -> Subject {
    Subject::Conversation { shard: Shard(0), tenant: TENANT, conversation: id, lane: Lane::Life }
}

pub fn msg_subject(id: ConversationId) -> Subject {
    Subject::Conversation { shard: Shard(0), tenant: TENANT, conversation: id, lane: Lane::Msg }
}

pub fn agent_record(id: AgentId, capacity: u32, revision: u64) -> AgentRecord {
    AgentRecord { revision, ..AgentRecord::new(TENANT, id, capacity) }
}

pub fn group_record(id: GroupId, strategy: Strategy, members: &[AgentId], revision: u64) -> GroupRecord {
    let members = members.iter().copied().map(Member::normal).collect();
    GroupRecord { strategy, members, revision, ..GroupRecord::new(TENANT, id) }
}

pub fn tenant_record(revision: u64) -> TenantRecord {
    TenantRecord {
        tenant_id: TENANT,
        name: "somewhere".into(),
        shard: Shard(0),
        default_group_id: None,
        console_origins: Vec::new(),
        thread_per_assignment: false,
        routing: RoutingSettings::default(),
        revision,
        deleted: false,
    }
}

/// A start as an edge writes it.
pub fn started(n: u128, thread: ThreadId, group: Option<GroupId>, at: Timestamp) -> Event {
    let state = LifeState {
        thread_id: thread,
        status: ThreadStatus::Queued,
        group_id: group,
        assignee_id: None,
        participants: Vec::new(),
        started_at: at,
        started_seq: None,
        visitor_id: visitor(n),
        widget_id: None,
        previous_thread_id: None,
        continues: false,
        extra: Extra::new(),
    };
    let start = Started { group_id: group, widget_id: None, source: StartSource::Widget, state };
    Event {
        id: EventId::from_uuid(thread.uuid()),
        cause: None,
        tenant_id: TENANT,
        conversation_id: Some(conversation(n)),
        thread_id: Some(thread),
        author: Author::visitor(visitor(n)),
        client_id: None,
        visibility: Visibility::All,
        body: Body::Started(start),
    }
}

pub fn said(n: u128, thread: ThreadId, author: Author, id: u128) -> Event {
    let message = Message { text: "hello".into(), quick_replies: Vec::new() };
    Event {
        id: EventId::from_uuid(Uuid::from_u128(id)),
        cause: None,
        tenant_id: TENANT,
        conversation_id: Some(conversation(n)),
        thread_id: Some(thread),
        author,
        client_id: None,
        visibility: Visibility::All,
        body: Body::Message(message),
    }
}
