//! A group's folder in one hierarchy, whose files the kernel makes and takes away.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::hierarchy::Hierarchy;
use crate::EngineError;

/// How long a group that has just been left may be busy.
const BUSY: Duration = Duration::from_secs(10);
/// Between looks whether it still is.
const LOOK: Duration = Duration::from_millis(2);
/// Limits of what some kernels do not count by group: swap, and what waits in TCP connections.
const OPTIONAL: [&str; 3] = [
    "memory.memsw.limit_in_bytes",
    "memory.kmem.tcp.limit_in_bytes",
    "memory.swap.max",
];

/// Where one group is, or would be.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) hierarchy: Hierarchy,
    pub(super) folder: PathBuf,
}

impl Place {
    pub(super) fn exists(&self) -> bool {
        self.folder.exists()
    }

    /// Whole content of a file; none once it or the group is gone.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, EngineError> {
        let file = self.folder.join(name);
        match fs::read_to_string(&file) {
            Err(error) if is_gone(&error) => Ok(None),
            outcome => outcome.map(Some).map_err(EngineError::host("read", file)),
        }
    }

    /// Sets a value. A limit that the kernel has no file for is left out where it may be.
    pub(super) fn set(&self, name: &str, value: &str) -> Result<(), EngineError> {
        let file = self.folder.join(name);
        match write_existing(&file, value) {
            Err(error) if is_gone(&error) && OPTIONAL.contains(&name) => Ok(()),
            outcome => outcome.map_err(EngineError::host("set", file)),
        }
    }

    /// Removes the group, if it is there. Blocking, while it is busy.
    pub(super) fn remove(&self) -> Result<(), EngineError> {
        let deadline = Instant::now() + BUSY;
        loop {
            match fs::remove_dir(&self.folder) {
                Ok(()) => return Ok(()),
                Err(error) if is_gone(&error) => return Ok(()),
                Err(error)
                    if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline =>
                {
                    std::thread::sleep(LOOK);
                }
                Err(error) => {
                    return Err(EngineError::host("remove the cgroup", &self.folder)(error));
                }
            }
        }
    }
}

/// Writes a file that is there. Opened as one that may be made, one that is missing would be an error of permission: nobody makes files in such a folder.
pub(super) fn write_existing(file: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .open(file)?
        .write_all(value.as_bytes())
}

/// Whether the file or its group is not there, or not any more.
pub(super) fn is_gone(error: &io::Error) -> bool {
    const ENODEV: i32 = 19;
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ENODEV)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_never_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("memory.max");
        let error = write_existing(&file, "1").unwrap_err();
        assert!(is_gone(&error) && !file.exists(), "{error}");
        fs::write(&file, "").unwrap();
        write_existing(&file, "1").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "1");
    }
}
