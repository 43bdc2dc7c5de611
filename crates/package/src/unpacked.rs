use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::task;
use warren_model::Digest;

use crate::archive::{CopyError, Inflater};
use crate::check::{Kind, Plan};
use crate::{Limits, PackageError};

/// How folders that are being written or removed begin; no digest does.
const UNFINISHED: &str = ".unfinished-";

/// The file that says in which run of the machine the rest was unpacked.
const BOOT_MARK: &str = ".boot";
/// A new random text at each start of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The user that functions run as is another one, so everybody may read.
const FOLDER_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;
const EXECUTABLE_MODE: u32 = 0o755;
/// Passing through is allowed, listing is not: whoever does not know a digest finds nothing.
const ROOT_MODE: u32 = 0o711;

/// Unpacked code, one folder for each digest: `ROOT/<digest>/`.
///
/// A cache: complete or absent, never changed in place, made again from the zip when it is missing.
#[derive(Debug, Clone)]
pub struct Unpacked {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    limits: Limits,
    /// One at a time unpacks or removes a digest.
    turns: Mutex<HashMap<Digest, Arc<AsyncMutex<()>>>>,
}

/// Why code could not be unpacked or removed.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// The zip is not in order.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A file could not be written, read or removed.
    #[error("the unpacked code can't use {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Unpacked {
    /// Makes the folder if it is not there, and removes what was half-written when a server ended.
    ///
    /// After a restart of the machine it removes everything: unpacked files are not synchronised, so a power cut may have emptied some. (To synchronise
    /// them was 96 ms instead of 4 for three small files beside a build: one waits for all that anybody has to write.)
    pub async fn open(root: &Path) -> Result<Self, UnpackError> {
        Self::open_with(root, Limits::default()).await
    }

    /// [`open`](Self::open) with other limits than Lambda's.
    pub async fn open_with(root: &Path, limits: Limits) -> Result<Self, UnpackError> {
        let unpacked = Self {
            inner: Arc::new(Inner {
                root: root.to_path_buf(),
                limits,
                turns: Mutex::default(),
            }),
        };
        blocking({
            let inner = Arc::clone(&unpacked.inner);
            move || {
                DirBuilder::new()
                    .recursive(true)
                    .mode(ROOT_MODE)
                    .create(&inner.root)
                    .and_then(|()| set_mode(&inner.root, ROOT_MODE))
                    .map_err(at(&inner.root))?;
                let same_boot = inner.same_boot()?;
                for (path, name) in inner.entries()? {
                    let complete = name.parse::<Digest>().is_ok();
                    if name.starts_with(UNFINISHED) || (complete && !same_boot) {
                        fs::remove_dir_all(&path).map_err(at(&path))?;
                    }
                }
                inner.mark_boot()?;
                Ok(())
            }
        })
        .await?;
        Ok(unpacked)
    }

    /// Where the code of this digest is, once it is unpacked.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.inner.path(digest)
    }

    /// Whether the code of this digest is unpacked; a file system look-up on this thread.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_dir()
    }

    /// Unpacks a zip unless that was done before, and answers where. `digest` is the zip's. Folders get mode 0755, files 0644, or 0755 if they
    /// may be executed; owners and times of the zip are not kept.
    pub async fn unpack(&self, digest: &Digest, zip: Bytes) -> Result<PathBuf, UnpackError> {
        let (inner, digest) = (Arc::clone(&self.inner), *digest);
        let turn = inner.turn(digest).await;
        blocking(move || {
            let _turn = turn;
            let path = inner.path(&digest);
            if !path.is_dir() {
                inner.unpack(&zip, &path)?;
            }
            Ok(path)
        })
        .await
    }

    /// Removes all code but that of these digests; answers how many were removed.
    pub async fn retain(&self, keep: &HashSet<Digest>) -> Result<usize, UnpackError> {
        let inner = Arc::clone(&self.inner);
        let all = blocking(move || inner.entries()).await?;
        let mut removed = 0;
        for digest in all.iter().filter_map(|(_, name)| name.parse().ok()) {
            if !keep.contains(&digest) {
                self.remove(&digest).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Removes the code of one digest; one that is not here is no error.
    pub async fn remove(&self, digest: &Digest) -> Result<(), UnpackError> {
        let (inner, digest) = (Arc::clone(&self.inner), *digest);
        let turn = inner.turn(digest).await;
        let removed = Arc::clone(&inner);
        blocking(move || {
            let _turn = turn;
            inner.remove(&inner.path(&digest))
        })
        .await?;
        removed.forget(&digest);
        Ok(())
    }
}

impl Inner {
    fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join(digest.to_string())
    }

    async fn turn(&self, digest: Digest) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(digest).or_default())
        };
        turn.lock_owned().await
    }

    /// Drops the turn of a digest that nobody waits for.
    fn forget(&self, digest: &Digest) {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns
            .get(digest)
            .is_some_and(|turn| Arc::strong_count(turn) == 1)
        {
            turns.remove(digest);
        }
    }

    /// Whether the machine has been up since the folder was last opened.
    fn same_boot(&self) -> Result<bool, UnpackError> {
        let mark = self.root.join(BOOT_MARK);
        match fs::read_to_string(&mark) {
            Ok(found) => Ok(found == boot()?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(at(&mark)(error)),
        }
    }

    fn mark_boot(&self) -> Result<(), UnpackError> {
        let mark = self.root.join(BOOT_MARK);
        fs::write(&mark, boot()?).map_err(at(&mark))
    }

    fn entries(&self) -> Result<Vec<(PathBuf, String)>, UnpackError> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(at(&self.root))? {
            let entry = entry.map_err(at(&self.root))?;
            if let Ok(name) = entry.file_name().into_string() {
                entries.push((entry.path(), name));
            }
        }
        Ok(entries)
    }

    fn unpack(&self, zip: &[u8], path: &Path) -> Result<(), UnpackError> {
        let plan = Plan::read(zip, &self.limits)?;
        // Removed with all that is in it, if this fails.
        let unfinished = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(&self.root)
            .map_err(at(&self.root))?;
        set_mode(unfinished.path(), FOLDER_MODE).map_err(at(unfinished.path()))?;
        let mut inflater = Inflater::new();
        for entry in &plan.entries {
            let to = unfinished.path().join(&entry.path);
            match &entry.kind {
                Kind::Folder => make_folders(unfinished.path(), &to)?,
                Kind::Link { .. } => {}
                Kind::File { executable } => {
                    make_parents(unfinished.path(), &to)?;
                    let mode = if *executable {
                        EXECUTABLE_MODE
                    } else {
                        FILE_MODE
                    };
                    let mut file = create(&to, mode).map_err(at(&to))?;
                    inflater
                        .copy(&entry.record, |piece| file.write_all(piece))
                        .map_err(|error| match error {
                            CopyError::Content(problem) => {
                                PackageError::damaged(&entry.path, problem).into()
                            }
                            CopyError::Write(error) => at(&to)(error),
                        })?;
                }
            }
        }
        // Links last: nothing is ever written through one.
        for entry in &plan.entries {
            if let Kind::Link { target } = &entry.kind {
                let to = unfinished.path().join(&entry.path);
                make_parents(unfinished.path(), &to)?;
                symlink(target, &to).map_err(at(&to))?;
            }
        }
        fs::rename(unfinished.path(), path).map_err(at(path))?;
        // What it would remove has another name now.
        let _ = unfinished.keep();
        Ok(())
    }

    /// Renamed first, so that a folder with a digest for a name is always complete.
    fn remove(&self, path: &Path) -> Result<(), UnpackError> {
        if !path.exists() {
            return Ok(());
        }
        let unfinished = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(&self.root)
            .map_err(at(&self.root))?;
        fs::rename(path, unfinished.path()).map_err(at(path))?;
        let folder = unfinished.path().to_path_buf();
        unfinished.close().map_err(at(&folder))
    }
}

/// What the kernel calls this run of the machine.
fn boot() -> Result<String, UnpackError> {
    fs::read_to_string(BOOT_ID).map_err(at(Path::new(BOOT_ID)))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UnpackError> + Send + 'static,
) -> Result<T, UnpackError> {
    match task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> UnpackError + '_ {
    |source| UnpackError::Io {
        path: path.to_path_buf(),
        source,
    }
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// A new file; the mode is set after its making, since the process's mask takes from what `open` is told.
fn create(path: &Path, mode: u32) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    Ok(file)
}

fn make_parents(root: &Path, path: &Path) -> Result<(), UnpackError> {
    path.parent()
        .map_or(Ok(()), |parent| make_folders(root, parent))
}

/// Makes `path` and what is missing between it and `root`.
fn make_folders(root: &Path, path: &Path) -> Result<(), UnpackError> {
    if path == root || path.is_dir() {
        return Ok(());
    }
    make_parents(root, path)?;
    fs::create_dir(path)
        .and_then(|()| set_mode(path, FOLDER_MODE))
        .map_err(at(path))
}

#[cfg(test)]
mod tests;
