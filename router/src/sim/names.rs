//! The people and places of simulations and scenarios, by number, and the records and events they are made of.
//!
//! A number says whose they are: those of the first tenant are small, those of others begin with its own number, and so
//! do their ids.

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
/// Nobody is of a tenant with a greater number.
pub const TENANTS_MAX: u128 = 0xF;
/// Where a tenant's number begins in that of what it has.
const TENANT_BITS: u32 = 32;
/// Where it begins in an id.
const TENANT_ID_BITS: u32 = 96;

/// The number of the tenant's `n`-th.
pub const fn of_tenant(tenant: u128, n: u128) -> u128 {
    (tenant << TENANT_BITS) + n
}

pub const fn tenant_number(n: u128) -> u128 {
    n >> TENANT_BITS
}

/// Whose this number is.
pub fn tenant(n: u128) -> TenantId {
    TenantId::from_uuid(id(of_tenant(tenant_number(n), 0), 1))
}

/// The number of the tenant that an id belongs to.
pub fn tenant_of(id: Uuid) -> u128 {
    id.as_u128() >> TENANT_ID_BITS
}

/// The tenant that an id belongs to.
fn whose(id: Uuid) -> TenantId {
    tenant(of_tenant(tenant_of(id), 0))
}

/// The id of a number, of which there are others for other kinds.
pub fn id(n: u128, kind: u128) -> Uuid {
    Uuid::from_u128((tenant_number(n) << TENANT_ID_BITS) + kind + n % (1 << TENANT_BITS))
}

pub fn agent(n: u128) -> AgentId {
    AgentId::from_uuid(id(n, 0xA000))
}

pub fn group(n: u128) -> GroupId {
    GroupId::from_uuid(id(n, 0x6000))
}

pub fn conversation(n: u128) -> ConversationId {
    ConversationId::of(tenant(n), visitor(n))
}

pub fn visitor(n: u128) -> VisitorId {
    VisitorId::from_uuid(id(n, 0x7000))
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

#[cfg(test)]
pub fn life_subject(id: ConversationId) -> Subject {
    subject(TENANT, id, Lane::Life)
}

#[cfg(test)]
pub fn msg_subject(id: ConversationId) -> Subject {
    subject(TENANT, id, Lane::Msg)
}

pub const fn subject(tenant: TenantId, conversation: ConversationId, lane: Lane) -> Subject {
    Subject::Conversation { shard: Shard(0), tenant, conversation, lane }
}

pub fn agent_record(id: AgentId, capacity: u32, revision: u64) -> AgentRecord {
    AgentRecord { revision, ..AgentRecord::new(whose(id.uuid()), id, capacity) }
}

pub fn group_record(id: GroupId, strategy: Strategy, members: &[AgentId], revision: u64) -> GroupRecord {
    let members = members.iter().copied().map(Member::normal).collect();
    GroupRecord { strategy, members, revision, ..GroupRecord::new(whose(id.uuid()), id) }
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
        tenant_id: tenant(n),
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
        tenant_id: tenant(n),
        conversation_id: Some(conversation(n)),
        thread_id: Some(thread),
        author,
        client_id: None,
        visibility: Visibility::All,
        body: Body::Message(message),
    }
}
