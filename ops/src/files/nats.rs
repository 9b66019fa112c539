//! Files in a NATS object store.
//!
//! Invariant: the layout is what NATS clients read, except that the pieces of an object lie under the attachment's id
//! instead of a random one, so that what a dead process left behind can be named and removed. A piece whose outcome
//! is not known is written again under the same message id, which the server stores once.

use std::{collections::HashMap, time::Duration};

use async_nats::{
    HeaderMap, Request,
    header::{NATS_MESSAGE_ID, NATS_ROLLUP},
    jetstream::{
        self,
        object_store::{ObjectInfo, ObjectOptions},
        stream::{DirectGetErrorKind, Stream},
    },
};
use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use bus_schema::{file::FileKey, stream::ATTACHMENTS};
use bytes::{Bytes, BytesMut};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream, stream::BoxStream};
use tokio::time::sleep;

use super::store::{Store, StoreError, Writing};
use crate::{
    log::{ACK_WAIT, WriteError, parse_ack},
    nats::Bus,
};

/// Bytes of one message; the server takes 1 MiB unless told otherwise.
const CHUNK_BYTES: usize = 128 * 1024;
/// Tries of one request, over about six seconds of pauses: as long as a server takes to come back.
const TRIES_MAX: u32 = 7;
const PAUSE: Duration = Duration::from_millis(100);
/// Tries of a read that finds nothing, where a replica may lag.
const LAG_TRIES: u32 = 4;

#[derive(Debug, Clone)]
pub struct NatsStore {
    bus: Bus,
}

impl NatsStore {
    pub fn new(bus: Bus) -> Self {
        Self { bus }
    }

    async fn stream(&self) -> Result<Stream<()>, StoreError> {
        let context = jetstream::new(self.bus.client.clone());
        context.get_stream_no_info(ATTACHMENTS.stream()).await.map_err(|e| StoreError::Refused(e.into()))
    }
}

/// Where the pieces of a file lie.
fn pieces(key: FileKey) -> String {
    ATTACHMENTS.chunks(&key.attachment.to_string())
}

/// Where it is said what the file is.
fn about(key: FileKey) -> String {
    ATTACHMENTS.about(&URL_SAFE.encode(key.object()))
}

async fn pause(tries: u32) {
    sleep(PAUSE * 2_u32.saturating_pow(tries.saturating_sub(1))).await;
}

impl Store for NatsStore {
    fn create(&self, key: FileKey) -> Box<dyn Writing> {
        Box::new(Upload {
            bus: self.bus.clone(),
            key,
            buffer: BytesMut::new(),
            chunks: 0,
            size: 0,
            digest: digest::Context::new(&digest::SHA256),
        })
    }

    fn read(&self, key: FileKey, size: u64) -> BoxStream<'static, Result<Bytes, StoreError>> {
        let download = Download { store: self.clone(), subject: pieces(key), next: 1, left: size };
        stream::try_unfold(download, |mut download| async move {
            if download.left == 0 {
                return Ok(None);
            }
            let piece = download.next().await?;
            Ok(Some((piece, download)))
        })
        .boxed()
    }

    fn remove(&self, key: FileKey) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let stream = self.stream().await?;
            for subject in [about(key), pieces(key)] {
                stream.purge().filter(subject).await.map_err(|error| StoreError::Away(error.into()))?;
            }
            Ok(())
        }
        .boxed()
    }
}

/// A file on its way in: at most one piece is held.
struct Upload {
    bus: Bus,
    key: FileKey,
    buffer: BytesMut,
    chunks: usize,
    size: usize,
    digest: digest::Context,
}

impl Upload {
    async fn piece(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.digest.update(&bytes);
        self.size += bytes.len();
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, format!("{}-{}", self.key.attachment, self.chunks));
        self.chunks += 1;
        publish(&self.bus, pieces(self.key), headers, bytes).await
    }

    async fn done(mut self: Box<Self>) -> Result<(), StoreError> {
        if !self.buffer.is_empty() {
            let rest = self.buffer.split().freeze();
            self.piece(rest).await?;
        }
        let digest = URL_SAFE.encode(self.digest.clone().finish());
        let info = ObjectInfo {
            name: self.key.object(),
            description: None,
            metadata: HashMap::new(),
            headers: None,
            options: Some(ObjectOptions { link: None, max_chunk_size: Some(CHUNK_BYTES) }),
            bucket: ATTACHMENTS.name.to_owned(),
            nuid: self.key.attachment.to_string(),
            size: self.size,
            chunks: self.chunks,
            modified: None,
            digest: Some(format!("SHA-256={digest}")),
            deleted: false,
        };
        let info = serde_json::to_vec(&info).map_err(|error| StoreError::Refused(error.into()))?;
        let mut headers = HeaderMap::new();
        headers.insert(NATS_ROLLUP, "sub");
        publish(&self.bus, about(self.key), headers, info.into()).await
    }
}

impl Writing for Upload {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            self.buffer.extend_from_slice(&bytes);
            while self.buffer.len() >= CHUNK_BYTES {
                let piece = self.buffer.split_to(CHUNK_BYTES).freeze();
                self.piece(piece).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        self.done().boxed()
    }
}

/// Stores one message, also over a restart of the server.
async fn publish(bus: &Bus, subject: String, headers: HeaderMap, payload: Bytes) -> Result<(), StoreError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let request =
            Request::new().headers(headers.clone()).payload(payload.clone()).timeout(Some(ACK_WAIT));
        let answer = bus.client.send_request(subject.clone(), request).await;
        let error: StoreError = match answer {
            Err(error) => StoreError::Away(error.into()),
            Ok(answer) => match parse_ack(&answer.payload) {
                Ok(_) => return Ok(()),
                Err(WriteError::Full) => return Err(StoreError::Full),
                Err(error @ (WriteError::Refused { .. } | WriteError::Invalid | WriteError::Mismatch)) => {
                    return Err(StoreError::Refused(error.into()));
                }
                Err(error @ (WriteError::InFlight | WriteError::DuplicateInFlight | WriteError::Unknown)) => {
                    StoreError::Away(error.into())
                }
            },
        };
        if tries >= TRIES_MAX {
            return Err(error);
        }
        pause(tries).await;
    }
}

/// A file on its way out: one piece is held.
struct Download {
    store: NatsStore,
    subject: String,
    /// The next piece has this sequence or a higher one.
    next: u64,
    /// Bytes that are to come.
    left: u64,
}

impl Download {
    async fn next(&mut self) -> Result<Bytes, StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let stream = self.store.stream().await?;
            let error = match stream.direct_get_next_for_subject(&self.subject, Some(self.next)).await {
                Ok(piece) => {
                    self.next = piece.sequence + 1;
                    let length = piece.payload.len() as u64;
                    self.left = self.left.checked_sub(length).ok_or(StoreError::Spoilt)?;
                    return Ok(piece.payload);
                }
                Err(error) => error,
            };
            let missing = error.kind() == DirectGetErrorKind::NotFound;
            if missing && tries >= LAG_TRIES {
                return Err(StoreError::Missing);
            }
            if tries >= TRIES_MAX {
                return Err(StoreError::Away(error.into()));
            }
            pause(tries).await;
        }
    }
}
