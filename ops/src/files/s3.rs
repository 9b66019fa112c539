//! Files in an S3 bucket, or in what speaks like one.
//!
//! Invariant: of a file on its way in at most one part is held, and on its way out what one read gives. An upload that
//! is not finished is aborted; one whose process died is for the bucket's life-cycle rule to end.

use std::{fmt, sync::Arc, time::Duration};

use bus_schema::file::FileKey;
use bytes::Bytes;
use futures::{
    FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream, stream::BoxStream,
};
use object_store::{
    ClientOptions, Error, MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload, PutPayloadMut,
    RetryConfig, aws::AmazonS3Builder, path::Path,
};

use super::store::{Store, StoreError, Writing};

/// All parts but the last have at least 5 MiB, says S3.
const PART_BYTES: usize = 5 * 1024 * 1024;
const TRIES_MAX: usize = 4;
const TRY_FOR: Duration = Duration::from_secs(15);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Which bucket, and who asks.
#[derive(Clone)]
pub struct S3Settings {
    pub bucket: String,
    pub region: String,
    /// None: Amazon's own.
    pub endpoint: Option<String>,
    pub access_key: String,
    pub secret_key: String,
}

impl fmt::Debug for S3Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Settings({} in {})", self.bucket, self.region)
    }
}

#[derive(Debug, Clone)]
pub struct S3Store {
    bucket: Arc<dyn ObjectStore>,
}

impl S3Store {
    pub fn new(settings: &S3Settings) -> Result<Self, StoreError> {
        let retry = RetryConfig { max_retries: TRIES_MAX, retry_timeout: TRY_FOR, ..RetryConfig::default() };
        // No bound on a whole request: a download takes as long as its reader.
        let client = ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(CONNECT_WITHIN)
            .with_read_timeout(SILENCE_MAX);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_access_key_id(&settings.access_key)
            .with_secret_access_key(&settings.secret_key)
            .with_client_options(client)
            .with_retry(retry);
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        let bucket = builder.build().map_err(|error| StoreError::Refused(error.into()))?;
        Ok(Self { bucket: Arc::new(bucket) })
    }
}

fn path(key: FileKey) -> Path {
    Path::from(key.object())
}

fn failed(error: Error) -> StoreError {
    match error {
        Error::NotFound { .. } => StoreError::Missing,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } | Error::NotSupported { .. } => {
            StoreError::Refused(error.into())
        }
        error => StoreError::Away(error.into()),
    }
}

impl Store for S3Store {
    fn create(&self, key: FileKey) -> Box<dyn Writing> {
        let (bucket, path) = (self.bucket.clone(), path(key));
        Box::new(Upload { bucket, path, buffer: PutPayloadMut::new(), parts: None })
    }

    fn read(&self, key: FileKey, size: u64) -> BoxStream<'static, Result<Bytes, StoreError>> {
        let (bucket, path) = (self.bucket.clone(), path(key));
        let opened = async move {
            let got = bucket.get(&path).await.map_err(failed)?;
            if got.meta.size != size {
                return Err(StoreError::Spoilt);
            }
            Ok(got.into_stream().map_err(failed))
        };
        stream::once(opened).try_flatten().boxed()
    }

    fn remove(&self, key: FileKey) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            match self.bucket.delete(&path(key)).await {
                Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(failed(error)),
            }
        }
        .boxed()
    }
}

struct Upload {
    bucket: Arc<dyn ObjectStore>,
    path: Path,
    buffer: PutPayloadMut,
    /// Begun with the first whole part; a small file is put at once.
    parts: Option<Box<dyn MultipartUpload>>,
}

impl Upload {
    async fn part(&mut self, part: PutPayload) -> Result<(), StoreError> {
        let parts = match &mut self.parts {
            Some(parts) => parts,
            None => {
                let begun = self.bucket.put_multipart(&self.path).await.map_err(failed)?;
                self.parts.insert(begun)
            }
        };
        parts.put_part(part).await.map_err(failed)
    }

    async fn done(mut self: Box<Self>) -> Result<(), StoreError> {
        let rest: PutPayload = std::mem::take(&mut self.buffer).into();
        if self.parts.is_none() {
            return self.bucket.put(&self.path, rest).await.map(drop).map_err(failed);
        }
        if rest.content_length() > 0 {
            self.part(rest).await?;
        }
        // Kept until it is complete, so that it is aborted otherwise.
        let Some(parts) = &mut self.parts else { return Ok(()) };
        parts.complete().await.map_err(failed)?;
        self.parts = None;
        Ok(())
    }
}

impl Writing for Upload {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                // Some stores want all parts but the last to be of one size.
                let room = PART_BYTES - self.buffer.content_length();
                let (now, later) = rest.split_at(rest.len().min(room));
                // Copied: a small piece of a large buffer would keep all of it.
                self.buffer.extend_from_slice(now);
                rest = later;
                if self.buffer.content_length() == PART_BYTES {
                    let part = std::mem::take(&mut self.buffer).into();
                    self.part(part).await?;
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>> {
        self.done().boxed()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut parts) = self.parts.take() else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = parts.abort().await {
                    tracing::warn!(%error, "an upload to S3 could not be aborted");
                }
            });
        }
    }
}
