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
        Ok(Self {
            folder: folder.to_path_buf(),
            sweep: Mutex::new(sweep),
            writing: Mutex::default(),
        })
    }

    /// Stops all removal until somebody removes the file that says why.
    pub fn stop(&self, why: &str) {
        let path = self.folder.join(STOPPED);
        error!(
            why,
            next = format!(
                "see that the database is the right one and complete, or put it back; then remove {}",
                path.display()
            ),
            "code is not removed any more"
        );
        // The first reason stays: what follows is often no more than its consequence.
        let written = File::create_new(&path).and_then(|mut file| writeln!(file, "{why}"));
        if let Err(error) = written
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            error!(%error, path = %path.display(), "can't write down why code is not removed");
        }
    }

    /// Why nothing is removed, if so.
    pub fn stopped(&self) -> Option<String> {
        match fs::read_to_string(self.folder.join(STOPPED)) {
            Ok(why) => Some(why.trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(format!("the file {STOPPED} can't be read: {error}")),
        }
    }

    /// A zip was stored for a change.
    pub(crate) fn uploaded(&self, digest: Digest) {
        self.sweep().upload(digest);
    }

    /// A change was refused; `held` is what others hold.
    pub(crate) fn refused(self: &Arc<Self>, held: &HashSet<Digest>, now: Timestamp) {
        if self.sweep().refuse(held, now) {
            self.save_soon();
        }
    }

    /// A change of this server's own was made: what it refers to, and what the function before it referred to.
    pub(crate) fn changed(
        self: &Arc<Self>,
        after: &HashSet<Digest>,
        before: &HashSet<Digest>,
        now: Timestamp,
    ) {
        let mut changed = false;
        let mut sweep = self.sweep();
        for digest in after {
            changed |= sweep.need(digest);
        }
        for digest in before.difference(after) {
            sweep.release(*digest, now);
            changed = true;
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
