//! Removing a file's bytes with the event that says so.
//!
//! Invariant: the bytes go only after that event is stored; and once it is, they go, whoever dies in between.

use bus_schema::{
    AttachmentId, ErrorBody, Timestamp,
    file::{FileKey, Pending, Stage},
};

use super::{Files, away, claim::is_refusal};
use crate::chat::Draft;

/// Bytes that are to go.
#[derive(Debug)]
pub struct Purge(FileKey);

impl Files {
    /// Notes that a draft is about to remove a file's bytes. The draft's sequence will be above `from_seq`.
    pub async fn purge(
        &self,
        draft: &Draft,
        attachment: AttachmentId,
        from_seq: u64,
        now: Timestamp,
    ) -> Result<Purge, ErrorBody> {
        let key = FileKey { tenant: draft.home.tenant, attachment };
        let stage = Stage::Purging { event_id: draft.event_id(), from_seq, visibility: draft.visibility };
        let pending =
            Pending { conversation_id: draft.home.conversation, author: draft.author, until: now, stage };
        self.pending.put(&key.key(), pending.encode()).await.map_err(away)?;
        Ok(Purge(key))
    }

    /// What became of the event.
    pub async fn purged<T>(&self, Purge(key): Purge, outcome: &Result<T, ErrorBody>) {
        let done = match outcome {
            Ok(_) => self.discard(key).await,
            Err(error) if is_refusal(error.code) => self.pending.remove(&key.key(), None).await.map_err(away),
            Err(_) => return,
        };
        if let Err(error) = done {
            tracing::warn!(%error, "a file is removed later");
        }
    }
}
