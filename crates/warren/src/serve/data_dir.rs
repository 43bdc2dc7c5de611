use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};

/// The data folder, locked for this process until it ends.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the folder if need be, closes it to others (mode 0700) and locks it; a second server is refused and told who holds it.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("could not create the data folder {}", path.display()))?;
        let path = path
            .canonicalize()
            .with_context(|| format!("could not find the data folder {}", path.display()))?;
        close(&path)?;
        let lock_path = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .with_context(|| format!("could not open {}", lock_path.display()))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            // Only for the message; an unreadable number leaves it out.
            let _ = lock.read_to_string(&mut holder);
            bail!(
                "the data folder {} is in use by another Warren (process {}). Stop that one, or choose another folder with --data-dir",
                path.display(),
                holder.trim()
            );
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .with_context(|| format!("could not write {}", lock_path.display()))?;
        Ok(Self { path, _lock: lock })
    }

    /// The number of this start: one more than that of the last one, on the disk before it is used.
    pub(super) fn raise_boot(&self) -> anyhow::Result<u64> {
        let path = self.file("boot");
        let last: u64 = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().with_context(|| {
                format!(
                    "{} does not hold the number of the last start; remove the file to count anew",
                    path.display()
                )
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
            Err(error) => {
                return Err(error).with_context(|| format!("could not read {}", path.display()));
            }
        };
        let boot = last.saturating_add(1);
        let unfinished = self.file("boot.new");
        File::create(&unfinished)
            .and_then(|mut file| {
                writeln!(file, "{boot}")?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&unfinished, &path))
            .and_then(|()| File::open(&self.path)?.sync_all())
            .with_context(|| format!("could not write {}", path.display()))?;
        Ok(boot)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A folder within, made if need be.
    pub(super) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.path.join(name);
        fs::create_dir_all(&folder)
            .with_context(|| format!("could not create {}", folder.display()))?;
        Ok(folder)
    }
}

/// Keys and code are within: a folder that was there before may be open to others. One that is meant for everybody, such as `/tmp`, is refused.
fn close(path: &Path) -> anyhow::Result<()> {
    const STICKY: u32 = 0o1000;
    let mode = fs::metadata(path)
        .with_context(|| format!("could not look at the data folder {}", path.display()))?
        .permissions()
        .mode();
    if mode & STICKY != 0 {
        bail!(
            "the data folder {} is shared with others. Choose a folder of its own with --data-dir",
            path.display()
        );
    }
    if mode & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).with_context(|| {
            format!(
                "could not close the data folder {} to others",
                path.display()
            )
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_there_is_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode));
        mode(0o755).unwrap();
        drop(DataDir::open(folder.path()).unwrap());
        let found = fs::metadata(folder.path()).unwrap().permissions().mode();
        assert_eq!(found & 0o777, 0o700);
        mode(0o1777).unwrap();
        let error = DataDir::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("--data-dir"), "{error}");
    }

    #[test]
    fn each_start_has_a_higher_number() {
        let folder = tempfile::tempdir().unwrap();
        for boot in 1..=3 {
            let data = DataDir::open(folder.path()).unwrap();
            assert_eq!(data.raise_boot().unwrap(), boot);
        }
        fs::write(folder.path().join("boot"), "x").unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        assert!(data.raise_boot().is_err());
    }
}
