//! Files: where their bytes lie, and what is known of them beside the log.
//!
//! A file is *pending* from the first byte of its upload until the event that names it is stored, and again while its
//! bytes are being removed; what is pending too long is settled by whoever sweeps. Its *record* says in which event it
//! is, and so who may see it.

use serde::{Deserialize, Serialize};

use crate::{
    AttachmentId, Author, ConversationId, EventId, TenantId, Timestamp, Visibility, event::File, id::BadId,
};

/// Which file of which tenant. Tenants never meet: a foreign file has another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey {
    pub tenant: TenantId,
    pub attachment: AttachmentId,
}

impl FileKey {
    /// Its key in the buckets `uploads` and `files`.
    pub fn key(self) -> String {
        format!("{}.{}", self.tenant, self.attachment)
    }

    pub fn parse(key: &str) -> Result<Self, BadId> {
        let (tenant, attachment) = key.split_once('.').ok_or(BadId)?;
        Ok(Self { tenant: tenant.parse()?, attachment: attachment.parse()? })
    }

    /// The name of its bytes in an object store.
    pub fn object(self) -> String {
        format!("{}/{}", self.tenant, self.attachment)
    }
}

/// A file that is not settled, in the bucket `uploads`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    pub conversation_id: ConversationId,
    /// Who uploads it, or has its bytes removed.
    pub author: Author,
    /// From then on it is settled by what the log says.
    pub until: Timestamp,
    pub stage: Stage,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// Bytes are coming.
    Uploading,
    /// All bytes are there; no event names them yet, or is about to.
    Ready { file: File },
    /// The bytes go as soon as this event is stored.
    Purging { event_id: EventId, from_seq: u64, visibility: Visibility },
}

/// A file that an event names, or is about to, in the bucket `files`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileRecord {
    pub conversation_id: ConversationId,
    pub author: Author,
    /// Who sees the event.
    pub visibility: Visibility,
    pub event_id: EventId,
    /// The event's sequence is above this one.
    pub from_seq: u64,
    pub file: File,
}

macro_rules! stored {
    ($($name:ident)*) => {$(
        impl $name {
            pub fn encode(&self) -> Vec<u8> {
                serde_json::to_vec(self).expect("strings, numbers and ids always encode")
            }

            pub fn decode(value: &[u8]) -> Result<Self, serde_json::Error> {
                serde_json::from_slice(value)
            }
        }
    )*};
}

stored! { Pending FileRecord }

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VisitorId;

    #[test]
    fn keys_name_a_tenant_and_a_file_and_nothing_else() {
        let key = FileKey { tenant: TenantId::NIL, attachment: AttachmentId::NIL };
        assert_eq!(FileKey::parse(&key.key()), Ok(key));
        for bad in ["", ".", "x", &key.object(), &format!("{}.", TenantId::NIL)] {
            assert!(FileKey::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_pending_reads_back_also_from_a_newer_neighbour() {
        let author = Author::visitor(VisitorId::NIL);
        let until = Timestamp::from_millis(1_000);
        let pending =
            Pending { conversation_id: ConversationId::NIL, author, until, stage: Stage::Uploading };
        assert_eq!(Pending::decode(&pending.encode()).unwrap(), pending);
        let text = String::from_utf8(pending.encode()).unwrap();
        assert_eq!(Pending::decode(text.replacen('{', r#"{"new":1,"#, 1).as_bytes()).unwrap(), pending);
    }
}
