//! Typed ids. Each entity has its own type, so that ids cannot be mixed up; all are lower-case UUIDs on the wire.
//!
//! Ids of visitors, conversations and events are computed, never drawn: the same input gives the same id for ever,
//! which is what makes retries and races harmless. Because they can be computed they are never credentials.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A text that should have been an id and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a lower-case UUID such as 0190f3c2-5b7e-7c3a-9d4e-1f2a3b4c5d6e")]
pub struct BadId;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub struct $name(Uuid);

        impl $name {
            pub const NIL: Self = Self(Uuid::nil());

            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.as_hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                parse_uuid(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut buffer = Uuid::encode_buffer();
                serializer.serialize_str(self.0.as_hyphenated().encode_lower(&mut buffer))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a lower-case UUID")
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }
    )*};
}

ids! {
    /// A person's e-mail and password, unique per installation.
    AccountId,
    /// A form that agents send.
    ActionTemplateId,
    /// An account in a tenant, with a role.
    AgentId,
    /// An uploaded file.
    AttachmentId,
    /// A program's access to a tenant.
    ApiTokenId,
    /// A text that agents send by a shortcut.
    CannedResponseId,
    /// One request to the router; a repeat with the same id answers the same.
    CommandId,
    /// One socket.
    ConnectionId,
    /// A visitor's conversation, one for life.
    ConversationId,
    /// The life of a log: made when its stream is created, gone with it.
    Epoch,
    /// A stored fact.
    EventId,
    /// What routing targets.
    GroupId,
    /// One run of one process, from start to exit.
    IncarnationId,
    /// A login of an account; access tokens name it, so that it can be revoked.
    SessionId,
    /// A label for conversations.
    TagId,
    /// The wall between companies.
    TenantId,
    /// One episode of a conversation.
    ThreadId,
    /// A person in the widget.
    VisitorId,
    /// An entry point on a site.
    WidgetId,
}

fn parse_uuid(text: &str) -> Result<Uuid, BadId> {
    let canonical = text.len() == 36 && !text.bytes().any(|b| b.is_ascii_uppercase());
    if !canonical {
        return Err(BadId);
    }
    Uuid::try_parse(text).map_err(|_| BadId)
}

/// Hashes length-prefixed parts under a domain name into a version 8 UUID.
fn hashed(domain: &str, parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    for part in std::iter::once(&domain.as_bytes()).chain(parts) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

impl VisitorId {
    /// An anonymous visitor: the holder of `visitor_key` (32 random bytes that the widget keeps).
    pub fn from_key(tenant: TenantId, visitor_key: &[u8]) -> Self {
        Self(hashed("visitor-key", &[tenant.0.as_bytes(), visitor_key]))
    }

    /// A visitor whose external id an identity token has proved.
    pub fn from_external(tenant: TenantId, external_id: &str) -> Self {
        Self(hashed("visitor-external", &[tenant.0.as_bytes(), external_id.as_bytes()]))
    }
}

impl ConversationId {
    /// The one conversation of a visitor, whatever races to open it.
    pub fn of(tenant: TenantId, visitor: VisitorId) -> Self {
        Self(Uuid::new_v5(&tenant.0, visitor.0.as_bytes()))
    }
}

impl EventId {
    /// The id of a client's send: the same send has the same id for ever.
    pub fn of_send(tenant: TenantId, conversation: ConversationId, author: Uuid, client_id: &str) -> Self {
        Self(hashed(
            "send",
            &[tenant.0.as_bytes(), conversation.0.as_bytes(), author.as_bytes(), client_id.as_bytes()],
        ))
    }

    /// The id of a compare-and-set write. It says who wrote, so that a writer that does not know whether its write
    /// was stored can recognise it in the log.
    pub fn of_write(epoch: Epoch, subject: &str, expected_seq: u64, writer: IncarnationId) -> Self {
        Self(hashed(
            "write",
            &[epoch.0.as_bytes(), subject.as_bytes(), &expected_seq.to_be_bytes(), writer.0.as_bytes()],
        ))
    }
}

/// A client's own name for a send: 1–64 of `[A-Za-z0-9_-]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(pattern = "^[A-Za-z0-9_-]{1,64}$"))]
pub struct ClientId(String);

/// A text that should have been a `client_id` and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 64 characters of A-Z a-z 0-9 _ -")]
pub struct BadClientId;

impl ClientId {
    pub const LENGTH_MAX: usize = 64;

    pub fn new(text: impl Into<String>) -> Result<Self, BadClientId> {
        let text = text.into();
        let safe = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if text.is_empty() || text.len() > Self::LENGTH_MAX || !text.bytes().all(safe) {
            return Err(BadClientId);
        }
        Ok(Self(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ClientId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ClientId::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: TenantId = TenantId(Uuid::from_u128(1));
    const OTHER: TenantId = TenantId(Uuid::from_u128(2));

    #[test]
    fn ids_are_lower_case_hyphenated_and_nothing_else() {
        let text = "0190f3c2-5b7e-7c3a-9d4e-1f2a3b4c5d6e";
        assert_eq!(text.parse::<AgentId>().unwrap().to_string(), text);
        for bad in [
            "",
            "0190F3C2-5b7e-7c3a-9d4e-1f2a3b4c5d6e",
            "0190f3c25b7e7c3a9d4e1f2a3b4c5d6e",
            "{0190f3c2-5b7e-7c3a-9d4e-1f2a3b4c5d6e}",
            "*",
            "0190f3c2-5b7e-7c3a-9d4e-1f2a3b4c5d6.",
        ] {
            assert_eq!(bad.parse::<AgentId>(), Err(BadId), "{bad}");
        }
    }

    #[test]
    fn computed_ids_are_frozen() {
        let visitor = VisitorId::from_key(TENANT, &[7; 32]);
        let conversation = ConversationId::of(TENANT, visitor);
        let event = EventId::of_send(TENANT, conversation, visitor.uuid(), "c-1");
        assert_eq!(visitor.to_string(), FROZEN[0]);
        assert_eq!(conversation.to_string(), FROZEN[1]);
        assert_eq!(event.to_string(), FROZEN[2]);
    }

    const FROZEN: [&str; 3] = [
        "f28fee31-cb63-819f-a18e-c173aceeeb96",
        "66e3bf31-69e4-59a5-ac9a-8ea9cb452f61",
        "756593fc-31c9-8007-844f-20b9750d8982",
    ];

    #[test]
    fn computed_ids_differ_between_tenants_and_inputs() {
        assert_ne!(VisitorId::from_key(TENANT, b"k"), VisitorId::from_key(OTHER, b"k"));
        assert_ne!(VisitorId::from_key(TENANT, b"k"), VisitorId::from_external(TENANT, "k"));
        let id = |client: &str| EventId::of_send(TENANT, ConversationId::NIL, Uuid::nil(), client);
        assert_ne!(id("a"), id("b"));
    }

    #[test]
    fn client_ids_are_short_and_safe() {
        assert!(ClientId::new("a").is_ok() && ClientId::new("x".repeat(64)).is_ok());
        for bad in ["", " ", "a b", "ü", "a.b", &"x".repeat(65)] {
            assert_eq!(ClientId::new(bad), Err(BadClientId));
        }
    }
}
