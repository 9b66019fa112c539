//! Configuration as it travels from admin-api, through the KV bucket `config`, to edges and routers.
//!
//! Postgres is the truth; a record here is a whole copy with its revision. A deleted thing stays as a record with
//! `deleted: true`, so that a late reader cannot mistake "gone" for "not yet here".

use serde::{Deserialize, Serialize};

pub use crate::routing::{RoutingSettings, Rules};
use crate::{
    AccountId, AgentId, GroupId, Shard, TagId, TenantId, Timestamp, WidgetId, claims::Role, state::Strategy,
};

/// A member's place within a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum MemberPriority {
    First,
    #[default]
    Normal,
    Last,
    /// Sees the group first, and never gets automatic chats.
    Supervisor,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TenantRecord {
    pub tenant_id: TenantId,
    pub name: String,
    pub shard: Shard,
    pub default_group_id: Option<GroupId>,
    /// Origins from which staff may connect.
    #[serde(default)]
    pub console_origins: Vec<String>,
    #[serde(default)]
    pub thread_per_assignment: bool,
    /// For all groups that say nothing else.
    #[serde(default)]
    pub routing: RoutingSettings,
    /// Grows with each change of any of the tenant's records.
    pub revision: u64,
    #[serde(default)]
    pub deleted: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WidgetRecord {
    pub widget_id: WidgetId,
    pub tenant_id: TenantId,
    /// The public key that pages carry.
    pub key: String,
    pub name: String,
    /// Origins of pages that may use it; `*` allows every origin.
    #[serde(default)]
    pub allowed_origins: Vec<String>,
    pub default_group_id: Option<GroupId>,
    #[serde(default)]
    pub greeting: Option<String>,
    #[serde(default)]
    pub locale: Option<String>,
    #[serde(default)]
    pub theme: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    pub identity: Option<IdentityKey>,
    #[serde(default)]
    pub identity_required: bool,
    pub revision: u64,
    #[serde(default)]
    pub deleted: bool,
}

/// How a site proves who its visitor is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "algorithm")]
pub enum IdentityKey {
    HS256 {
        secret: String,
        /// The one before it, which still counts for a while.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<PreviousSecret>,
    },
    EdDSA {
        public_key_pem: String,
    },
}

/// How a site signs its identity tokens, as they say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum IdentityAlgorithm {
    HS256,
    EdDSA,
}

impl IdentityKey {
    pub const fn algorithm(&self) -> IdentityAlgorithm {
        match self {
            IdentityKey::HS256 { .. } => IdentityAlgorithm::HS256,
            IdentityKey::EdDSA { .. } => IdentityAlgorithm::EdDSA,
        }
    }
}

impl std::fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IdentityKey::{:?}(…)", self.algorithm())
    }
}

/// A secret that was replaced.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    pub secret: String,
    pub until: Timestamp,
}

impl std::fmt::Debug for PreviousSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PreviousSecret(until {})", self.until)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupRecord {
    pub group_id: GroupId,
    pub tenant_id: TenantId,
    pub name: String,
    pub strategy: Strategy,
    /// Where a sticky visitor's agent is away.
    #[serde(default)]
    pub second_strategy: Strategy,
    #[serde(default)]
    pub members: Vec<Member>,
    /// Threads that may wait; none: no bound.
    #[serde(default)]
    pub queue_max: Option<u32>,
    #[serde(default)]
    pub when_offline: WhenOffline,
    #[serde(default)]
    pub routing: RoutingSettings,
    pub revision: u64,
    #[serde(default)]
    pub deleted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub agent_id: AgentId,
    #[serde(default)]
    pub priority: MemberPriority,
}

/// What happens to a start while nobody of the group is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WhenOffline {
    /// It waits for when someone comes.
    #[default]
    Keep,
    /// It is closed with `group_offline`.
    Close,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentRecord {
    pub agent_id: AgentId,
    pub tenant_id: TenantId,
    pub account_id: AccountId,
    pub name: String,
    pub role: Role,
    /// What the agent's capacity should be; the router writes it into the agent's state.
    pub capacity: u32,
    #[serde(default)]
    pub skills: Vec<String>,
    #[serde(default)]
    pub avatar_url: Option<String>,
    #[serde(default)]
    pub job_title: Option<String>,
    pub revision: u64,
    #[serde(default)]
    pub deleted: bool,
}

impl AgentRecord {
    /// An agent with room for so many, of whom nothing else is known.
    pub const fn new(tenant_id: TenantId, agent_id: AgentId, capacity: u32) -> Self {
        Self {
            agent_id,
            tenant_id,
            account_id: AccountId::NIL,
            name: String::new(),
            role: Role::Agent,
            capacity,
            skills: Vec::new(),
            avatar_url: None,
            job_title: None,
            revision: 1,
            deleted: false,
        }
    }
}

impl GroupRecord {
    /// A group without members, where everything is as usual.
    pub fn new(tenant_id: TenantId, group_id: GroupId) -> Self {
        Self {
            group_id,
            tenant_id,
            name: String::new(),
            strategy: Strategy::default(),
            second_strategy: Strategy::default(),
            members: Vec::new(),
            queue_max: None,
            when_offline: WhenOffline::default(),
            routing: RoutingSettings::default(),
            revision: 1,
            deleted: false,
        }
    }
}

impl Member {
    /// One who is asked like all others.
    pub const fn normal(agent_id: AgentId) -> Self {
        Self { agent_id, priority: MemberPriority::Normal }
    }
}

/// A label that staff put on threads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagRecord {
    pub tag_id: TagId,
    pub tenant_id: TenantId,
    pub name: String,
    #[serde(default)]
    pub color: Option<String>,
    pub revision: u64,
    #[serde(default)]
    pub deleted: bool,
}

/// A record of the `config` bucket with its key.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    Tenant(TenantRecord),
    Widget(WidgetRecord),
    Group(GroupRecord),
    Agent(AgentRecord),
    Tag(TagRecord),
}

/// A key or value of the `config` bucket that this build cannot read.
#[derive(Debug, thiserror::Error)]
pub enum BadRecord {
    #[error("no such kind of record: {key}")]
    Key { key: String },
    #[error("value of {key} does not fit")]
    Value {
        key: String,
        #[source]
        source: serde_json::Error,
    },
}

/// The key of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordId {
    Tenant,
    Widget(WidgetId),
    Group(GroupId),
    Agent(AgentId),
    Tag(TagId),
}

impl RecordId {
    /// `tenant.<tenant>`, `widget.<tenant>.<widget>`, `group.<tenant>.<group>`, `agent.<tenant>.<agent>`,
    /// `tag.<tenant>.<tag>`.
    pub fn key(self, tenant: TenantId) -> String {
        match self {
            RecordId::Tenant => format!("tenant.{tenant}"),
            RecordId::Widget(id) => format!("widget.{tenant}.{id}"),
            RecordId::Group(id) => format!("group.{tenant}.{id}"),
            RecordId::Agent(id) => format!("agent.{tenant}.{id}"),
            RecordId::Tag(id) => format!("tag.{tenant}.{id}"),
        }
    }
}

impl Record {
    pub fn key(&self) -> String {
        let id = match self {
            Record::Tenant(_) => RecordId::Tenant,
            Record::Widget(r) => RecordId::Widget(r.widget_id),
            Record::Group(r) => RecordId::Group(r.group_id),
            Record::Agent(r) => RecordId::Agent(r.agent_id),
            Record::Tag(r) => RecordId::Tag(r.tag_id),
        };
        id.key(self.tenant_id())
    }

    pub const fn tenant_id(&self) -> TenantId {
        match self {
            Record::Tenant(r) => r.tenant_id,
            Record::Widget(r) => r.tenant_id,
            Record::Group(r) => r.tenant_id,
            Record::Agent(r) => r.tenant_id,
            Record::Tag(r) => r.tenant_id,
        }
    }

    /// The kind of record: the first word of its key.
    pub const fn entity(&self) -> &'static str {
        match self {
            Record::Tenant(_) => "tenant",
            Record::Widget(_) => "widget",
            Record::Group(_) => "group",
            Record::Agent(_) => "agent",
            Record::Tag(_) => "tag",
        }
    }

    /// Of what it is a record.
    pub const fn id(&self) -> uuid::Uuid {
        match self {
            Record::Tenant(r) => r.tenant_id.uuid(),
            Record::Widget(r) => r.widget_id.uuid(),
            Record::Group(r) => r.group_id.uuid(),
            Record::Agent(r) => r.agent_id.uuid(),
            Record::Tag(r) => r.tag_id.uuid(),
        }
    }

    pub const fn is_deleted(&self) -> bool {
        match self {
            Record::Tenant(r) => r.deleted,
            Record::Widget(r) => r.deleted,
            Record::Group(r) => r.deleted,
            Record::Agent(r) => r.deleted,
            Record::Tag(r) => r.deleted,
        }
    }

    pub const fn revision(&self) -> u64 {
        match self {
            Record::Tenant(r) => r.revision,
            Record::Widget(r) => r.revision,
            Record::Group(r) => r.revision,
            Record::Agent(r) => r.revision,
            Record::Tag(r) => r.revision,
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let json = match self {
            Record::Tenant(r) => serde_json::to_vec(r),
            Record::Widget(r) => serde_json::to_vec(r),
            Record::Group(r) => serde_json::to_vec(r),
            Record::Agent(r) => serde_json::to_vec(r),
            Record::Tag(r) => serde_json::to_vec(r),
        };
        json.expect("a record holds only strings, numbers and string-keyed maps")
    }

    pub fn decode(key: &str, value: &[u8]) -> Result<Self, BadRecord> {
        let record = match key.split('.').next() {
            Some("tenant") => serde_json::from_slice(value).map(Record::Tenant),
            Some("widget") => serde_json::from_slice(value).map(Record::Widget),
            Some("group") => serde_json::from_slice(value).map(Record::Group),
            Some("agent") => serde_json::from_slice(value).map(Record::Agent),
            Some("tag") => serde_json::from_slice(value).map(Record::Tag),
            _ => return Err(BadRecord::Key { key: key.to_owned() }),
        };
        record.map_err(|source| BadRecord::Value { key: key.to_owned(), source })
    }
}
