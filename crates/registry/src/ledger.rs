//! Since when which code is not needed, and whether it may be removed at all: two files, so that restarts change nothing of it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::{error, warn};
use warren_model::{Digest, Timestamp};

use crate::sweep::{Found, Sweep, Unneeded};

/// Lines `DIGEST SINCE_MS own|found`.
const FILE: &str = "unneeded-code";
/// While it is there, no code is removed.
const STOPPED: &str = "removal-stopped";

/// What the removal of code remembers, in the data folder.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    sweep: Mutex<Sweep>,
    /// Held while the file is written: a later state is not replaced by an earlier one.
    writing: Mutex<()>,
    /// Why nothing is removed. In memory, so that it holds where the file can't be written, and costs nothing to ask for.
    stop: Mutex<Option<Stop>>,
    /// Held while that is changed together with its file.
    stopping: Mutex<()>,
}

#[derive(Debug, Clone)]
struct Stop {
    why: String,
    /// Whether the file was there: only then has somebody removed it when it is not.
    written: bool,
}

impl Ledger {
    /// Reads what is remembered in this folder.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let mut sweep = Sweep::default();
        match fs::read_to_string(folder.join(FILE)) {
            Ok(text) => {
                for line in text.lines() {
                    match entry(line) {
                        Some((digest, unneeded)) => {
                            sweep.unneeded.insert(digest, unneeded);
                        }
                        // Its time begins anew.
                        None => warn!(line, file = FILE, "a line that can't be read is left out"),
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let ledger = Self {
            folder: folder.to_path_buf(),
            sweep: Mutex::new(sweep),
            writing: Mutex::default(),
            stop: Mutex::default(),
            stopping: Mutex::default(),
        };
        ledger.read_stop();
        Ok(ledger)
    }

    /// The data folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Stops all removal until somebody removes the file that says why.
    ///
    /// # Errors
    /// The file could not be written: the stop holds for as long as this process lives.
    pub fn stop(&self, why: &str) -> io::Result<()> {
        let _stopping = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.folder.join(STOPPED);
        error!(
            why,
            next = format!(
                "see that the database is the right one and complete, or put it back; then remove {}",
                path.display()
            ),
            "code is not removed any more"
        );
        let stop = |written| Stop {
            why: why.to_owned(),
            written,
        };
        self.stop_now().get_or_insert(stop(false));
        match File::create_new(&path) {
            Ok(mut file) => {
                writeln!(file, "{why}")?;
                file.sync_all()?;
                File::open(&self.folder)?.sync_all()?;
                *self.stop_now() = Some(stop(true));
            }
            // The first reason stays: what follows is often no more than its consequence.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if let Some(first) = self.stop_now().as_mut() {
                    first.written = true;
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Why nothing is removed, if so; from memory.
    pub fn stopped(&self) -> Option<String> {
        self.stop_now().as_ref().map(|stop| stop.why.clone())
    }

    /// [`stopped`](Self::stopped), after a look whether somebody removed the file, or put one there.
    pub(crate) async fn still_stopped(self: &Arc<Self>) -> bool {
        let ledger = Arc::clone(self);
        match tokio::task::spawn_blocking(move || ledger.read_stop()).await {
            Ok(()) => self.stop_now().is_some(),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn read_stop(&self) {
        let _stopping = self.stopping.lock().unwrap_or_else(PoisonError::into_inner);
        let why = match fs::read_to_string(self.folder.join(STOPPED)) {
            // Cut off by a full disk.
            Ok(why) if why.trim().is_empty() => self
                .stopped()
                .unwrap_or_else(|| format!("the file {STOPPED} is there, without a reason")),
            Ok(why) => why.trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.stop_now().take_if(|stop| stop.written);
                return;
            }
            Err(error) => format!("the file {STOPPED} can't be read: {error}"),
        };
        *self.stop_now() = Some(Stop { why, written: true });
    }

    fn stop_now(&self) -> MutexGuard<'_, Option<Stop>> {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This server is about to store it, or to take away what needs it: on the disk before that is done, since a server that is killed in between must
    /// know it for its own doing.
    pub(crate) async fn release(
        self: &Arc<Self>,
        digests: impl IntoIterator<Item = Digest>,
        now: Timestamp,
    ) -> io::Result<()> {
        let mut changed = false;
        for digest in digests {
            self.sweep().release(digest, now);
            changed = true;
        }
        match changed {
            true => self.save().await,
            false => Ok(()),
        }
    }

    /// A change was made: what it refers to, and what nothing refers to any more.
    pub(crate) fn changed(
        self: &Arc<Self>,
        needed: &HashSet<Digest>,
        released: &HashSet<Digest>,
        now: Timestamp,
    ) {
        let mut changed = false;
        let mut sweep = self.sweep();
        for digest in needed {
            changed |= sweep.need(digest);
        }
        for digest in released {
            changed |= sweep.release(*digest, now);
        }
        drop(sweep);
        if changed {
            self.save_soon();
        }
    }

    /// As [`Sweep::look`].
    pub(crate) fn look(
        &self,
        present: Vec<Digest>,
        needed: &HashSet<Digest>,
        held: &HashSet<Digest>,
        now: Timestamp,
    ) -> Found {
        self.sweep().look(present, needed, held, now)
    }

    fn sweep(&self) -> MutexGuard<'_, Sweep> {
        self.sweep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In the background: what is lost with a server that ends at this moment, stays a day instead of some minutes.
    fn save_soon(self: &Arc<Self>) {
        let ledger = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = ledger.write() {
                warn!(%error, file = FILE, "can't write down which code is not needed");
            }
        });
    }

    /// Writes the file, whole or not at all.
    pub(crate) async fn save(self: &Arc<Self>) -> io::Result<()> {
        let ledger = Arc::clone(self);
        match tokio::task::spawn_blocking(move || ledger.write()).await {
            Ok(written) => written,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn write(&self) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let text: String = self
            .sweep()
            .unneeded
            .iter()
            .map(|(digest, Unneeded { since, own })| {
                let how = if *own { "own" } else { "found" };
                format!("{digest} {} {how}\n", since.as_millis())
            })
            .collect();
        let unfinished = self.folder.join(format!("{FILE}.new"));
        let mut file = File::create(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, self.folder.join(FILE))?;
        File::open(&self.folder)?.sync_all()
    }
}

fn entry(line: &str) -> Option<(Digest, Unneeded)> {
    let mut parts = line.split(' ');
    let digest = parts.next()?.parse().ok()?;
    let since = Timestamp::from_millis(parts.next()?.parse().ok()?);
    let own = match parts.next()? {
        "own" => true,
        "found" => false,
        _ => return None,
    };
    Some((digest, Unneeded { since, own }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_holds_until_its_file_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Arc::new(Ledger::open(folder.path()).unwrap());
        assert_eq!(ledger.stopped(), None);
        ledger.stop("first").unwrap();
        ledger.stop("second").unwrap();
        let again = Ledger::open(folder.path()).unwrap();
        for each in [&*ledger, &again] {
            assert_eq!(each.stopped().as_deref(), Some("first"));
        }
        assert!(ledger.still_stopped().await);
        fs::remove_file(folder.path().join(STOPPED)).unwrap();
        assert!(!ledger.still_stopped().await);
        assert_eq!(ledger.stopped(), None);
        // Also by hand.
        fs::write(folder.path().join(STOPPED), "by hand\n").unwrap();
        assert!(ledger.still_stopped().await);
        assert_eq!(ledger.stopped().as_deref(), Some("by hand"));
    }

    #[tokio::test]
    async fn a_stop_that_can_not_be_written_is_told_and_holds() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        fs::create_dir(&gone).unwrap();
        let ledger = Arc::new(Ledger::open(&gone).unwrap());
        fs::remove_dir(&gone).unwrap();
        assert!(ledger.stop("why").is_err());
        assert!(ledger.still_stopped().await);
        assert_eq!(ledger.stopped().as_deref(), Some("why"));
    }
}
