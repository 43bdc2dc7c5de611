//! Checkpoints of initialised instances. Whether one is wanted is [`Restores`]'s to say; here the image is kept, for as long as instances can be restored from
//! it.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;
use warren_scheduler::{Origin, Restores};

/// Bytes of one block of a file (stat(2)).
const BLOCK: u64 = 512;

/// An image on the disk. It goes with its last user.
#[derive(Debug)]
pub(crate) struct Image {
    folder: PathBuf,
    /// Bytes of output of its runtime until then: its marks go on from there.
    pub(crate) mark: u32,
    bytes: u64,
    used: Arc<AtomicU64>,
}

impl Image {
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// It is written: gives back what was reserved for it and not needed. Blocking, some ten microseconds.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        let mut needed = 0;
        for file in std::fs::read_dir(&self.folder)? {
            needed += file?.metadata()?.blocks() * BLOCK;
        }
        let spare = self.bytes.saturating_sub(needed);
        self.bytes -= spare;
        self.used.fetch_sub(spare, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
        let folder = std::mem::take(&mut self.folder);
        // Some hundred MB may take a while.
        let remove = move || {
            if let Err(error) = std::fs::remove_dir_all(&folder) {
                tracing::warn!(folder = %folder.display(), %error, "an image could not be removed; the next start of the server will");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// All images of a server.
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    /// Most bytes of images together.
    budget: u64,
    used: Arc<AtomicU64>,
    /// One is made at a time: it takes a sandbox and writes all its memory.
    pub(crate) making: Semaphore,
}

impl Checkpoints {
    /// Keeps images below `folder`, which take at most `budget` bytes together. What is there from before is removed, since nothing is known of it. Blocking.
    pub fn new(folder: PathBuf, budget: u64) -> io::Result<Self> {
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::create_dir(&folder)?;
        Ok(Self {
            folder,
            budget,
            used: Arc::default(),
            making: Semaphore::new(1),
        })
    }

    /// An empty folder for one image of at most so many bytes; none if that is more than there is room for.
    pub(crate) fn reserve(&self, name: &str, bytes: u64) -> Option<io::Result<Image>> {
        let room = |used: u64| used.checked_add(bytes).filter(|all| *all <= self.budget);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room)
            .ok()?;
        let folder = self.folder.join(name);
        let made = std::fs::create_dir(&folder);
        let image = Image {
            folder,
            mark: 0,
            bytes,
            used: Arc::clone(&self.used),
        };
        Some(made.map(|()| image))
    }
}

/// What is known and kept of one pool.
#[derive(Debug, Default)]
pub(crate) struct Checkpoint(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    restores: Restores,
    image: Option<Arc<Image>>,
}

impl Checkpoint {
    /// What the next instance is restored from, if it is to be.
    pub(crate) fn image(&self) -> Option<Arc<Image>> {
        self.lock().image.clone()
    }

    /// An instance was ready after this time. Whether a checkpoint is to be made now.
    pub(crate) fn opened(&self, origin: Origin, took: Duration) -> bool {
        self.change(|restores| restores.opened(origin, took))
    }

    pub(crate) fn made(&self, image: Image) {
        let mut state = self.lock();
        state.restores.made();
        if state.restores.restores() {
            state.image = Some(Arc::new(image));
        }
    }

    pub(crate) fn put_off(&self) {
        self.change(Restores::put_off);
    }

    pub(crate) fn give_up(&self, why: String) {
        self.change(|restores| restores.give_up(why));
    }

    pub(crate) fn failed(&self, why: &str) {
        self.change(|restores| restores.failed(why));
    }

    pub(crate) fn describe(&self) -> String {
        self.lock().restores.describe()
    }

    /// An image that is not used any more goes.
    fn change<T>(&self, change: impl FnOnce(&mut Restores) -> T) -> T {
        let mut state = self.lock();
        let answer = change(&mut state.restores);
        if !state.restores.restores() {
            state.image = None;
        }
        answer
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_have_a_budget_and_go_with_their_last_user() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("checkpoints");
        std::fs::create_dir_all(folder.join("left")).unwrap();
        let checkpoints = Checkpoints::new(folder.clone(), 100_000).unwrap();
        assert!(!folder.join("left").exists(), "of the server before");
        let mut image = checkpoints.reserve("one", 90_000).unwrap().unwrap();
        assert!(checkpoints.reserve("two", 60_000).is_none());
        std::fs::write(folder.join("one/pages"), [1; 8_000]).unwrap();
        image.settle().unwrap();
        drop(checkpoints.reserve("two", 60_000).unwrap().unwrap());
        assert!(checkpoints.reserve("three", 99_000).is_none());
        assert!(folder.join("one").is_dir() && !folder.join("two").exists());

        let checkpoint = Checkpoint::default();
        let started = Origin::Started {
            init: Duration::from_secs(1),
        };
        assert!(checkpoint.opened(started, Duration::from_secs(1)));
        assert!(checkpoint.image().is_none());
        checkpoint.made(image);
        let used = checkpoint.image().unwrap();
        checkpoint.give_up("it fails".to_owned());
        assert!(checkpoint.image().is_none());
        assert!(folder.join("one").is_dir(), "an instance is being restored");
        drop(used);
        assert!(!folder.join("one").exists());
        assert!(checkpoints.reserve("three", 100_000).is_some());
    }
}
