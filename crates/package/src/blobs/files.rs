use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tempfile::NamedTempFile;
use tokio::task;
use warren_model::Digest;

use super::{BlobError, BlobStore};

/// Blobs as files: `ROOT/sha256/ab/<digest>`, where `ab` is how the digest begins.
///
/// A blob is written to `ROOT/tmp/`, synchronised, and renamed to its place; so it is there whole or not at all.
#[derive(Debug, Clone)]
pub struct FileBlobs {
    root: Arc<PathBuf>,
}

impl FileBlobs {
    /// Makes the folder if it is not there (readable by its owner alone), and removes what was half-written when a server ended.
    pub async fn open(root: &Path) -> Result<Self, BlobError> {
        let blobs = Self {
            root: Arc::new(root.to_path_buf()),
        };
        blobs
            .blocking(|blobs| {
                let half_written = blobs.root.join("tmp");
                match fs::remove_dir_all(&half_written) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(at(&half_written)(error));
                    }
                    _ => {}
                }
                make_folder(&half_written)?;
                make_folder(&blobs.root.join("sha256"))?;
                sync(&blobs.root)
            })
            .await?;
        Ok(blobs)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.root.join("sha256").join(&name[..2]).join(name)
    }

    fn put_now(&self, bytes: &[u8]) -> Result<Digest, BlobError> {
        let digest = Digest::of(bytes);
        let path = self.path(&digest);
        let kinds = self.root.join("sha256");
        let folder = path.parent().unwrap_or(&kinds);
        let complete = fs::metadata(&path).is_ok_and(|file| file.len() == bytes.len() as u64);
        if !complete {
            make_folder(folder)?;
            sync(&kinds)?;
            let half_written = self.root.join("tmp");
            let mut file = NamedTempFile::new_in(&half_written).map_err(at(&half_written))?;
            file.write_all(bytes).map_err(at(file.path()))?;
            file.as_file().sync_all().map_err(at(file.path()))?;
            file.persist(&path)
                .map_err(|error| at(&path)(error.error))?;
        }
        // Also for one that was there: whoever renamed it may not have come to this line.
        sync(folder)?;
        Ok(digest)
    }

    fn get_now(&self, wanted: &Digest) -> Result<Bytes, BlobError> {
        let path = self.path(wanted);
        let bytes = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => BlobError::NotFound(*wanted),
            _ => at(&path)(error),
        })?;
        let found = Digest::of(&bytes);
        match found == *wanted {
            true => Ok(bytes.into()),
            false => Err(BlobError::Damaged {
                wanted: *wanted,
                found,
            }),
        }
    }

    fn list_now(&self) -> Result<Vec<Digest>, BlobError> {
        let mut found = Vec::new();
        let kinds = self.root.join("sha256");
        for folder in fs::read_dir(&kinds).map_err(at(&kinds))? {
            let folder = folder.map_err(at(&kinds))?.path();
            for file in fs::read_dir(&folder).map_err(at(&folder))? {
                let name = file.map_err(at(&folder))?.file_name();
                // Not ours to judge, if it is no digest.
                found.extend(name.to_str().and_then(|name| name.parse::<Digest>().ok()));
            }
        }
        Ok(found)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, BlobError> + Send + 'static,
    ) -> Result<T, BlobError> {
        let blobs = self.clone();
        match task::spawn_blocking(move || work(&blobs)).await {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

#[async_trait]
impl BlobStore for FileBlobs {
    async fn put(&self, bytes: Bytes) -> Result<Digest, BlobError> {
        self.blocking(move |blobs| blobs.put_now(&bytes)).await
    }

    async fn get(&self, digest: &Digest) -> Result<Bytes, BlobError> {
        let digest = *digest;
        self.blocking(move |blobs| blobs.get_now(&digest)).await
    }

    async fn size(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        let path = self.path(digest);
        self.blocking(move |_| match fs::metadata(&path) {
            Ok(file) => Ok(Some(file.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&path)(error)),
        })
        .await
    }

    async fn delete(&self, digest: &Digest) -> Result<(), BlobError> {
        let path = self.path(digest);
        self.blocking(move |_| match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&path)(error)),
            _ => Ok(()),
        })
        .await
    }

    async fn list(&self) -> Result<Vec<Digest>, BlobError> {
        self.blocking(Self::list_now).await
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BlobError + '_ {
    |source| BlobError::Io {
        path: path.to_path_buf(),
        source,
    }
}

/// Code may hold secrets, so the folder is its owner's alone.
fn make_folder(path: &Path) -> Result<(), BlobError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o700)))
        .map_err(at(path))
}

/// Makes renames and new folders within a folder durable.
fn sync(folder: &Path) -> Result<(), BlobError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at(folder))
}

#[cfg(test)]
mod tests;
