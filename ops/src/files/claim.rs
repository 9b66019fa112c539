//! A file becomes part of an event: once, by whoever uploaded it, in the conversation it was uploaded for.
//!
//! Invariant: the record is written before the event, so no event names a file without one; of two events that want the
//! same file the first record wins; what the event says of the file is what was found in its bytes.

use std::time::Duration;

use bus_schema::{
    ErrorBody, ErrorCode, Timestamp,
    event::File,
    file::{FileKey, FileRecord, Pending, Stage},
};
use tokio::time::sleep;

use super::{Files, away};
use crate::{
    chat::{self, Draft},
    log::Log,
};

/// Looks at a file that another process may just have made ready: a replica may lag.
const LOOKS_MAX: u32 = 4;
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// A file that an event is about to name.
#[derive(Debug)]
pub struct Claim {
    key: FileKey,
    /// The record as this claim wrote it.
    revision: u64,
    /// What the event says.
    pub file: File,
    /// The same event may be stored already.
    pub again: bool,
}

impl Files {
    /// Claims the file that a draft names. Pointers of errors begin with `at`.
    pub async fn claim(
        &self,
        log: &Log,
        draft: &Draft,
        wanted: &File,
        now: Timestamp,
        at: &str,
    ) -> Result<Claim, ErrorBody> {
        let key = FileKey { tenant: draft.home.tenant, attachment: wanted.attachment_id };
        let event_id = draft.event_id();
        let none = || ErrorBody::field(format!("{at}/attachment_id"), "there is no such attachment");
        let mut looks = 0;
        loop {
            looks += 1;
            if let Some((record, revision)) = self.stored_record(key).await? {
                let same = record.event_id == event_id && record.conversation_id == draft.home.conversation;
                if !same {
                    let own =
                        record.author == draft.author && record.conversation_id == draft.home.conversation;
                    let told = || ErrorBody::new(ErrorCode::Conflict, "this attachment was sent already");
                    return Err(if own { told() } else { none() });
                }
                // A new revision says that this try relies on the record, too.
                match self.records.update(&key.key(), record.encode(), revision).await {
                    Ok(revision) => return Ok(Claim { key, revision, file: record.file, again: true }),
                    Err(error) if error.is_mismatch() && looks < LOOKS_MAX => continue,
                    Err(error) => return Err(away(error)),
                }
            }
            let Some(file) = self.ready_for(key, draft, now).await? else {
                if looks >= LOOKS_MAX {
                    return Err(none());
                }
                sleep(LOOK_PAUSE).await;
                continue;
            };
            let life = chat::life(log, draft.home).await?;
            let record = FileRecord {
                conversation_id: draft.home.conversation,
                author: draft.author,
                visibility: draft.visibility,
                event_id,
                from_seq: life.map_or(1, |life| life.seq),
                file: file.clone(),
            };
            match self.records.create(&key.key(), record.encode(), None).await {
                Ok(revision) => return Ok(Claim { key, revision, file, again: false }),
                Err(error) if error.is_mismatch() && looks < LOOKS_MAX => {}
                Err(error) => return Err(away(error)),
            }
        }
    }

    /// The file, if this draft may name it.
    async fn ready_for(
        &self,
        key: FileKey,
        draft: &Draft,
        now: Timestamp,
    ) -> Result<Option<File>, ErrorBody> {
        let Some(Pending { conversation_id, author, until, stage: Stage::Ready { file } }) =
            self.pending(key).await?
        else {
            return Ok(None);
        };
        let fits = author == draft.author && conversation_id == draft.home.conversation && now < until;
        Ok(fits.then_some(file))
    }

    /// What became of the event. Where that is not known the claim stays, until it is settled by what the log says.
    pub async fn claimed<T>(&self, claim: Claim, outcome: &Result<T, ErrorBody>) {
        let key = claim.key.key();
        let done = match outcome {
            Ok(_) => self.pending.remove(&key, None).await,
            Err(error) if is_refusal(error.code) => self.records.remove(&key, Some(claim.revision)).await,
            Err(_) => return,
        };
        // Whatever failed is settled later.
        if let Err(error) = done
            && !error.is_mismatch()
        {
            tracing::warn!(%error, "a sent file is settled later");
        }
    }
}

/// Whether nothing was stored, for sure.
pub(super) const fn is_refusal(code: ErrorCode) -> bool {
    !matches!(code, ErrorCode::Internal | ErrorCode::Unavailable | ErrorCode::Timeout)
}
