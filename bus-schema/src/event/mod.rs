//! Events: the stored facts, and how one is read and written.
//!
//! The stored payload has neither `seq` nor `at`; [`crate::splice`] puts them in front for readers, and [`Seen`]
//! decodes that form. A kind or version that this build does not know decodes to [`Body::Unknown`] and keeps its
//! bytes: it is counted by readers and never fatal.

mod data;
mod kinds;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

pub use data::*;
#[cfg(feature = "openapi")]
pub(crate) use kinds::Home;
pub use kinds::{Body, Kind};

use crate::{AgentId, ClientId, ConversationId, EventId, TenantId, ThreadId, Timestamp, VisitorId};

/// The version that this build writes.
pub const VERSION: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AuthorType {
    Visitor,
    Agent,
    Bot,
    System,
}

impl AuthorType {
    pub const fn name(self) -> &'static str {
        match self {
            AuthorType::Visitor => "visitor",
            AuthorType::Agent => "agent",
            AuthorType::Bot => "bot",
            AuthorType::System => "system",
        }
    }
}

/// Who said or did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Author {
    #[serde(rename = "type")]
    pub kind: AuthorType,
    #[serde(with = "author_id")]
    pub id: Uuid,
}

mod author_id {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::AccountId;

    pub fn serialize<S: Serializer>(id: &uuid::Uuid, serializer: S) -> Result<S::Ok, S::Error> {
        AccountId::from_uuid(*id).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<uuid::Uuid, D::Error> {
        AccountId::deserialize(deserializer).map(AccountId::uuid)
    }
}

impl Author {
    /// The system itself: routing, timers.
    pub const SYSTEM: Self = Self { kind: AuthorType::System, id: Uuid::nil() };

    pub const fn visitor(id: VisitorId) -> Self {
        Self { kind: AuthorType::Visitor, id: id.uuid() }
    }

    pub const fn agent(id: AgentId) -> Self {
        Self { kind: AuthorType::Agent, id: id.uuid() }
    }
}

/// Who may see what a participant said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    #[default]
    All,
    /// Staff alone: a note.
    Agents,
}

/// A stored fact, without `seq` and `at`.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: EventId,
    /// The event or command that caused it.
    pub cause: Option<Uuid>,
    pub tenant_id: TenantId,
    /// Absent on `visitor` and `agent` subjects.
    pub conversation_id: Option<ConversationId>,
    pub thread_id: Option<ThreadId>,
    pub author: Author,
    pub client_id: Option<ClientId>,
    pub visibility: Visibility,
    pub body: Body,
}

/// An event with its place in the log, as readers see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub seq: u64,
    pub at: Timestamp,
    pub event: Event,
}

/// Bytes that are no event.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("not an event")]
    Envelope(#[source] serde_json::Error),
    #[error("data of a {kind} event does not fit")]
    Data {
        kind: &'static str,
        #[source]
        source: serde_json::Error,
    },
}

/// What all events have, whatever their kind.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = EventEnvelope))]
pub(crate) struct Wire<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = u64, required))]
    seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Timestamp, required))]
    at: Option<Timestamp>,
    v: u8,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    id: EventId,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_uuid")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    cause: Option<Uuid>,
    tenant_id: TenantId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    conversation_id: Option<ConversationId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    thread_id: Option<ThreadId>,
    author: Author,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    client_id: Option<ClientId>,
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    visibility: Visibility,
    #[serde(borrow)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    data: &'a RawValue,
}

mod optional_uuid {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::AccountId;

    pub fn serialize<S: Serializer>(id: &Option<uuid::Uuid>, serializer: S) -> Result<S::Ok, S::Error> {
        id.map(AccountId::from_uuid).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<uuid::Uuid>, D::Error> {
        Ok(Option::<AccountId>::deserialize(deserializer)?.map(AccountId::uuid))
    }
}

impl Event {
    /// The stored payload.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, v, data) = self.body.encode();
        let wire = Wire {
            seq: None,
            at: None,
            v,
            kind: Cow::Borrowed(kind),
            id: self.id,
            cause: self.cause,
            tenant_id: self.tenant_id,
            conversation_id: self.conversation_id,
            thread_id: self.thread_id,
            author: self.author,
            client_id: self.client_id.clone(),
            visibility: self.visibility,
            data: &data,
        };
        serde_json::to_vec(&wire).expect("an event holds only strings, numbers and string-keyed maps")
    }

    /// Reads a stored payload.
    pub fn decode(stored: &[u8]) -> Result<Self, DecodeError> {
        let wire: Wire<'_> = serde_json::from_slice(stored).map_err(DecodeError::Envelope)?;
        Self::from_wire(wire)
    }

    fn from_wire(wire: Wire<'_>) -> Result<Self, DecodeError> {
        let body = Body::decode(&wire.kind, wire.v, wire.data)
            .map_err(|(kind, source)| DecodeError::Data { kind, source })?;
        Ok(Self {
            id: wire.id,
            cause: wire.cause,
            tenant_id: wire.tenant_id,
            conversation_id: wire.conversation_id,
            thread_id: wire.thread_id,
            author: wire.author,
            client_id: wire.client_id,
            visibility: wire.visibility,
            body,
        })
    }
}

impl Seen {
    /// Reads an event as clients get it: with `seq` and `at` in front.
    pub fn decode(spliced: &[u8]) -> Result<Self, DecodeError> {
        let mut wire: Wire<'_> = serde_json::from_slice(spliced).map_err(DecodeError::Envelope)?;
        let missing = |field| DecodeError::Envelope(serde::de::Error::missing_field(field));
        let seq = wire.seq.take().ok_or_else(|| missing("seq"))?;
        let at = wire.at.take().ok_or_else(|| missing("at"))?;
        Ok(Self { seq, at, event: Event::from_wire(wire)? })
    }
}
