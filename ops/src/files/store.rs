//! Where the bytes of files lie: the seam between what a file means and what holds it.
//!
//! Invariant: a store holds few pieces of a file in memory at a time, whatever the file's size; what was written and
//! not finished is nobody's, and `remove` takes it away like all else.

use std::fmt;

use bus_schema::{ErrorBody, ErrorCode, file::FileKey};
use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};

type Source = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store of files cannot be reached")]
    Away(#[source] Source),
    #[error("the store of files is full")]
    Full,
    #[error("the bytes are not there")]
    Missing,
    #[error("the store holds other bytes than were written")]
    Spoilt,
    #[error("the store of files refused it")]
    Refused(#[source] Source),
}

impl From<StoreError> for ErrorBody {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Away(source) => {
                tracing::warn!(%source, "files cannot be read or written now");
                Self::new(ErrorCode::Unavailable, "files cannot be kept or read now")
            }
            StoreError::Full => Self::new(ErrorCode::Unavailable, "there is no room for files now"),
            StoreError::Missing => ErrorCode::NotFound.into(),
            StoreError::Spoilt => {
                tracing::error!("a file in the store is not what was written");
                ErrorCode::Internal.into()
            }
            StoreError::Refused(source) => {
                tracing::error!(%source, "the store of files refused a request");
                ErrorCode::Internal.into()
            }
        }
    }
}

/// Bytes under keys.
pub trait Store: fmt::Debug + Send + Sync {
    /// Begins a file. Each key is written once.
    fn create(&self, key: FileKey) -> Box<dyn Writing>;

    /// The bytes of a finished file of `size` bytes, in order; an error if they are fewer or more.
    fn read(&self, key: FileKey, size: u64) -> BoxStream<'static, Result<Bytes, StoreError>>;

    /// Takes a file away, finished or not, or part of one; of what is not there nothing.
    fn remove(&self, key: FileKey) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// A file that is being written.
pub trait Writing: Send {
    /// Adds bytes; returns when there is room for more.
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), StoreError>>;

    /// All bytes are stored when this returns.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>>;
}
