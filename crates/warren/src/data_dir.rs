use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use anyhow::{Context, anyhow, bail};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use warren_model::{Digest, ServerId};

/// The file that says which database's code is in the folder.
const SERVER: &str = "server";
/// Of a folder's own id, hexadecimal.
const ID_DIGITS: usize = 24;

/// Which database's code is in a folder, and as of when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bound {
    /// The id of the server that the database belongs to.
    pub(crate) server: String,
    /// Where it is, for people.
    #[serde(default)]
    pub(crate) database: Option<String>,
    /// The last revision that was seen there: a lower one is an older state.
    #[serde(default)]
    pub(crate) revision: u64,
}

/// The data folder, locked for this process until it ends.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the folder if need be, closes it to others (mode 0700) and locks it; a second server is refused and told who holds it.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
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
    pub(crate) fn raise_boot(&self) -> anyhow::Result<u64> {
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
        self.replace("boot", &boot.to_string())?;
        Ok(boot)
    }

    /// Binds the folder to this database as it is now, whole or not at all.
    pub(crate) fn bind(&self, bound: &Bound) -> anyhow::Result<()> {
        let text = toml::to_string(bound).context("could not write down the database")?;
        self.replace(SERVER, text.trim_end())
    }

    /// The database that the folder is bound to.
    pub(crate) fn bound(&self) -> anyhow::Result<Option<Bound>> {
        Self::bound_in(&self.path)
    }

    /// The same, of a folder that somebody else may have open.
    pub(crate) fn bound_in(folder: &Path) -> anyhow::Result<Option<Bound>> {
        let path = folder.join(SERVER);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("could not read {}", path.display()));
            }
        };
        if !text.contains('=') {
            // As it was written before revisions were.
            return Ok(Some(Bound {
                server: text.trim().to_owned(),
                database: None,
                revision: 0,
            }));
        }
        let bound = toml::from_str(&text).with_context(|| {
            format!(
                "{} does not say which database's code is here; put it back, or remove it if the database is certainly the right one",
                path.display()
            )
        })?;
        Ok(Some(bound))
    }

    /// An id of this folder that no copy of it has, and that it keeps when it is renamed and when the machine starts again, which may number devices anew:
    /// of its own number, and of when it was made where the file system knows.
    pub(crate) fn id(&self, server: &ServerId) -> anyhow::Result<ServerId> {
        Self::id_of(&self.path, server.as_str())
    }

    /// The same, of a folder that somebody else may have open.
    pub(crate) fn id_of(path: &Path, server: &str) -> anyhow::Result<ServerId> {
        let folder =
            fs::metadata(path).with_context(|| format!("could not look at {}", path.display()))?;
        let made = folder
            .created()
            .ok()
            .and_then(|made| made.duration_since(UNIX_EPOCH).ok())
            .map_or(0, |since| since.as_secs());
        let of = format!("{server}\n{}\n{made}", folder.ino());
        let digest = Digest::of(of.as_bytes()).to_string();
        Ok(ServerId::new(
            digest.chars().take(ID_DIGITS).collect::<String>(),
        ))
    }

    /// The refusal of a database that is not the folder's.
    pub(crate) fn elsewhere(&self, bound: &Bound) -> anyhow::Error {
        let place = bound.database.as_deref().map_or_else(
            || "another database".to_owned(),
            |place| format!("another database, which was {place}"),
        );
        anyhow!(
            "the data folder {} holds the code of functions in {place}. Use that one (--database), move the functions with 'warren migrate' first, or choose another folder with --data-dir. Whoever knows that the code is not needed removes {}",
            self.path.display(),
            self.file(SERVER).display()
        )
    }

    /// Writes a small file, whole or not at all, and on the disk when this returns.
    fn replace(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.file(name);
        let unfinished = self.file(&format!("{name}.new"));
        File::create(&unfinished)
            .and_then(|mut file| {
                writeln!(file, "{text}")?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&unfinished, &path))
            .and_then(|()| File::open(&self.path)?.sync_all())
            .with_context(|| format!("could not write {}", path.display()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A folder within, made if need be.
    pub(crate) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
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

    #[test]
    fn the_folder_remembers_its_database() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        assert_eq!(data.bound().unwrap(), None);
        let bound = Bound {
            server: "abc".to_owned(),
            database: Some("postgres://ada@db:5432/warren".to_owned()),
            revision: 7,
        };
        data.bind(&bound).unwrap();
        assert_eq!(data.bound().unwrap(), Some(bound.clone()));
        let error = data.elsewhere(&bound).to_string();
        assert!(error.contains("warren migrate"), "{error}");
        assert!(error.contains("ada@db"), "{error}");
        // As an earlier Warren wrote it.
        fs::write(folder.path().join(SERVER), "abc\n").unwrap();
        assert_eq!(data.bound().unwrap().unwrap().server, "abc");
        fs::write(folder.path().join(SERVER), "server = ").unwrap();
        assert!(data.bound().is_err());
    }

    #[test]
    fn a_copy_of_a_folder_has_an_id_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (here, copy) = (folder.path().join("here"), folder.path().join("copy"));
        let server = ServerId::random();
        let id = |path: &Path| DataDir::open(path).unwrap().id(&server).unwrap();
        let first = id(&here);
        assert_eq!(id(&here), first);
        assert_ne!(id(&copy), first);
        // In place of the first, as a restored backup is.
        let away = folder.path().join("away");
        fs::rename(&here, &away).unwrap();
        assert_eq!(id(&away), first);
        fs::rename(&copy, &here).unwrap();
        assert_ne!(id(&here), first);
    }
}
