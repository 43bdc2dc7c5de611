mod files;

use std::io;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;
use warren_model::Digest;

pub use files::FileBlobs;

/// Where zips are kept, by their digest.
///
/// A trait of our own, not `object_store`'s, for two promises: what `put` has acknowledged survives a power cut, and `get` answers only what it was
/// asked for.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Keeps these bytes; durable when it returns. Keeping the same bytes again is no error and no change.
    async fn put(&self, bytes: Bytes) -> Result<Digest, BlobError>;

    /// The bytes of this digest, compared with it.
    async fn get(&self, digest: &Digest) -> Result<Bytes, BlobError>;

    /// The size of the blob in bytes, none if it is not here.
    async fn size(&self, digest: &Digest) -> Result<Option<u64>, BlobError>;

    /// Whether the blob is here.
    async fn exists(&self, digest: &Digest) -> Result<bool, BlobError> {
        Ok(self.size(digest).await?.is_some())
    }

    /// Removes the blob; one that is not here is no error.
    async fn delete(&self, digest: &Digest) -> Result<(), BlobError>;

    /// All that is here, in no particular order.
    async fn list(&self) -> Result<Vec<Digest>, BlobError>;
}

/// Why a blob store did not do what it was asked.
#[derive(Debug, Error)]
pub enum BlobError {
    /// No such blob.
    #[error("the code {0} is not in the blob store")]
    NotFound(Digest),
    /// What is kept under a digest has another one.
    #[error("the code {wanted} is damaged in the blob store: its digest is {found}")]
    Damaged {
        /// The digest asked for.
        wanted: Digest,
        /// That of the bytes found.
        found: Digest,
    },
    /// A file could not be read or written.
    #[error("the blob store can't use {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}
