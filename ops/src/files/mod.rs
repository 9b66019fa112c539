//! Files: bytes in a store, and beside them who uploaded them, for which conversation, and in which event they are.
//!
//! Invariant: every byte in the store belongs to a key that is pending or has a record, from before the first byte
//! until after the last; so nothing is ever lost sight of, whichever process dies in between.

mod claim;
mod erase;
mod nats;
mod purge;
mod s3;
mod settle;
mod store;

use std::{sync::Arc, time::Duration};

use bus_schema::{
    Author, ConversationId, ErrorBody, ErrorCode, Timestamp,
    event::File,
    file::{FileKey, FileRecord, Pending, Stage},
    limits::UPLOAD_UNUSED_MS,
    stream,
};
use bytes::Bytes;
use futures::stream::BoxStream;

pub use claim::Claim;
pub use nats::NatsStore;
pub use purge::Purge;
pub use s3::{S3Settings, S3Store};
pub use settle::{Settled, lane_of};
pub use store::{Store, StoreError, Writing};

use crate::{
    kv::{Kv, KvError},
    nats::Bus,
    settings::{Settings, names},
};

/// All files of an installation; cheap to clone.
#[derive(Debug, Clone)]
pub struct Files {
    store: Arc<dyn Store>,
    pending: Kv,
    records: Kv,
}

/// The store of the settings: an S3 bucket where one is named, else the bus's.
pub fn store(settings: &Settings, bus: &Bus) -> Result<Arc<dyn Store>, StoreError> {
    let Some(bucket) = settings.opt_text(names::FILES_S3_BUCKET) else {
        return Ok(Arc::new(NatsStore::new(bus.clone())));
    };
    let secret = |name| settings.opt_secret(name).unwrap_or_default().to_owned();
    let s3 = S3Settings {
        bucket: bucket.to_owned(),
        region: settings.text(names::FILES_S3_REGION).to_owned(),
        endpoint: settings.opt_text(names::FILES_S3_ENDPOINT).map(ToOwned::to_owned),
        access_key: secret(names::FILES_S3_ACCESS_KEY),
        secret_key: secret(names::FILES_S3_SECRET_KEY),
    };
    Ok(Arc::new(S3Store::new(&s3)?))
}

impl Files {
    pub async fn open(bus: &Bus, store: Arc<dyn Store>) -> Result<Self, KvError> {
        let pending = Kv::open(bus, stream::UPLOADS).await?;
        let records = Kv::open(bus, stream::FILES).await?;
        Ok(Self { store, pending, records })
    }

    /// Begins an upload. Until it is [`ready`](Self::ready) it is known as one that may be cut off.
    pub async fn begin(
        &self,
        key: FileKey,
        conversation_id: ConversationId,
        author: Author,
        now: Timestamp,
    ) -> Result<Box<dyn Writing>, ErrorBody> {
        let until = now.plus(Duration::from_millis(UPLOAD_UNUSED_MS));
        let pending = Pending { conversation_id, author, until, stage: Stage::Uploading };
        self.pending.create(&key.key(), pending.encode(), None).await.map_err(away)?;
        Ok(self.store.create(key))
    }

    /// All bytes are there: from now on an event of the same person in the same conversation may name the file, until
    /// the time that is given back.
    pub async fn ready(
        &self,
        key: FileKey,
        conversation_id: ConversationId,
        author: Author,
        file: File,
        now: Timestamp,
    ) -> Result<Timestamp, ErrorBody> {
        let until = now.plus(Duration::from_millis(UPLOAD_UNUSED_MS));
        let pending = Pending { conversation_id, author, until, stage: Stage::Ready { file } };
        self.pending.put(&key.key(), pending.encode()).await.map_err(away)?;
        Ok(until)
    }

    /// An upload ended badly: its bytes go, and again a little later, since some may still have been on their way.
    pub async fn abandon(
        &self,
        key: FileKey,
        conversation_id: ConversationId,
        author: Author,
        now: Timestamp,
    ) -> Result<(), ErrorBody> {
        let pending = Pending { conversation_id, author, until: now, stage: Stage::Uploading };
        self.pending.put(&key.key(), pending.encode()).await.map_err(away)?;
        self.store.remove(key).await.map_err(ErrorBody::from)
    }

    /// Takes away what no event names: the bytes first, then what is known of them.
    pub async fn discard(&self, key: FileKey) -> Result<(), ErrorBody> {
        self.store.remove(key).await?;
        self.records.remove(&key.key(), None).await.map_err(away)?;
        self.pending.remove(&key.key(), None).await.map_err(away)
    }

    /// In which event a file is, or is about to be; none: in none, or it was removed.
    pub async fn record(&self, key: FileKey) -> Result<Option<FileRecord>, ErrorBody> {
        Ok(self.stored_record(key).await?.map(|(record, _)| record))
    }

    /// The bytes of a file.
    pub fn read(&self, key: FileKey, size: u64) -> BoxStream<'static, Result<Bytes, StoreError>> {
        self.store.read(key, size)
    }

    async fn stored_record(&self, key: FileKey) -> Result<Option<(FileRecord, u64)>, ErrorBody> {
        let Some(entry) = self.records.get(&key.key()).await.map_err(away)? else { return Ok(None) };
        let record = FileRecord::decode(&entry.value).map_err(unreadable)?;
        Ok(Some((record, entry.revision)))
    }

    async fn pending(&self, key: FileKey) -> Result<Option<Pending>, ErrorBody> {
        let Some(entry) = self.pending.get(&key.key()).await.map_err(away)? else { return Ok(None) };
        Pending::decode(&entry.value).map(Some).map_err(unreadable)
    }
}

fn away(error: KvError) -> ErrorBody {
    tracing::warn!(%error, "what is known of files cannot be read or written now");
    ErrorBody::new(ErrorCode::Unavailable, "files cannot be kept or read now")
}

fn unreadable(error: serde_json::Error) -> ErrorBody {
    tracing::error!(%error, "what is known of a file cannot be read");
    ErrorCode::Internal.into()
}
