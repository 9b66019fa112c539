//! What was left pending: uploads that were cut off or never sent, claims and removals whose process died.
//!
//! Invariant: bytes go only when the log says that no event names them, or that an event removes them; and only after
//! no claim can begin any more and every one that began has ended.

use std::time::Duration;

use bus_schema::{
    ErrorBody, Lane, Timestamp, Visibility,
    file::{FileKey, Stage},
    subject::ConversationSubjects,
};

use super::{Files, away};
use crate::{chat, log::Log};

/// Between the time from which on no claim begins and that by which all have ended, clocks that differ included.
const MARGIN: Duration = Duration::from_secs(120);

/// What was done about a pending file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It is not time.
    Early,
    /// An event names it.
    Kept,
    /// Its bytes are gone.
    Removed,
}

/// The lane of an event that people say.
pub const fn lane_of(visibility: Visibility) -> Lane {
    match visibility {
        Visibility::All => Lane::Msg,
        Visibility::Agents => Lane::Note,
    }
}

impl Files {
    /// Files that are pending.
    pub async fn unsettled(&self) -> Result<Vec<FileKey>, ErrorBody> {
        let keys = self.pending.keys().await.map_err(away)?;
        Ok(keys.iter().filter_map(|key| FileKey::parse(key).ok()).collect())
    }

    /// Settles one by what the log of its tenant says.
    pub async fn settle(&self, log: &Log, key: FileKey, now: Timestamp) -> Result<Settled, ErrorBody> {
        let Some(pending) = self.pending(key).await? else { return Ok(Settled::Kept) };
        if now < pending.until.plus(MARGIN) {
            return Ok(Settled::Early);
        }
        let conversation = pending.conversation_id;
        let home = ConversationSubjects { shard: log.shard(), tenant: key.tenant, conversation };
        let stored = async |visibility, from, id| {
            Ok::<_, ErrorBody>(chat::find(log, home, lane_of(visibility), from, id).await?.is_some())
        };
        let kept = match pending.stage {
            Stage::Uploading | Stage::Ready { .. } => match self.record(key).await? {
                Some(record) => stored(record.visibility, record.from_seq, record.event_id).await?,
                None => false,
            },
            Stage::Purging { event_id, from_seq, visibility } => {
                !stored(visibility, from_seq, event_id).await?
            }
        };
        if kept {
            self.pending.remove(&key.key(), None).await.map_err(away)?;
            return Ok(Settled::Kept);
        }
        self.discard(key).await?;
        Ok(Settled::Removed)
    }
}
