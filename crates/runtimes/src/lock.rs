//! A lock file: one holder across processes, given back by the kernel when the last descriptor is closed.
//!
//! The commands of a build get a duplicate as their standard input. So a build whose server was killed keeps its lock until its last
//! command has ended, and nobody clears a folder that is still written to.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// How often a held lock is tried again.
const RETRY: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Lock(File);

impl Lock {
    /// Takes the lock, or answers `None` when somebody else has it.
    pub(crate) fn try_take(path: &Path) -> io::Result<Option<Lock>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Waits for the lock; `waiting` is called once per try.
    pub(crate) async fn take(path: &Path, mut waiting: impl FnMut()) -> io::Result<Lock> {
        loop {
            if let Some(lock) = Lock::try_take(path)? {
                return Ok(lock);
            }
            waiting();
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Standard input of a command that holds the lock as long as it lives; reads as an empty file.
    pub(crate) fn stdin(&self) -> io::Result<Stdio> {
        Ok(Stdio::from(self.0.try_clone()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_refused_until_the_first_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        let held = Lock::try_take(&path).unwrap().expect("free");
        assert!(Lock::try_take(&path).unwrap().is_none());
        drop(held);
        assert!(Lock::try_take(&path).unwrap().is_some());
    }

    #[test]
    fn a_command_that_outlives_its_builder_keeps_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        let held = Lock::try_take(&path).unwrap().expect("free");
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .stdin(held.stdin().unwrap())
            .spawn()
            .unwrap();
        drop(held);
        let while_alive = Lock::try_take(&path).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(while_alive.is_none());
        assert!(Lock::try_take(&path).unwrap().is_some());
    }
}
