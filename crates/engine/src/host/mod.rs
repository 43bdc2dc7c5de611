//! What engines share on the host.

pub mod cgroup;
pub mod channel;
pub mod disk;
pub mod mounts;
mod peak;

use std::path::{Path, PathBuf};

use warren_model::InstanceId;

use crate::EngineError;

/// The folder of one instance: `RUN/<instance>/`, with `channel/`, `disk.img` and `tmp/` in it.
#[derive(Debug, Clone)]
pub struct InstanceFolder(PathBuf);

impl InstanceFolder {
    /// Makes it, mode 0711 (a container's uid passes through to `/tmp` and the code by mounts, not by this path).
    pub fn create(run: &Path, instance: &InstanceId) -> Result<Self, EngineError> {
        let path = run.join(instance.as_str());
        std::fs::create_dir(&path).map_err(EngineError::host("create the folder", &path))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Unmounts everything in it and removes it. Nothing there is success.
    pub fn remove(&self) -> Result<(), EngineError> {
        remove_folder(&self.0)
    }
}

/// Unmounts everything below an instance's folder and removes it; blocking, some milliseconds.
pub fn remove_folder(path: &Path) -> Result<(), EngineError> {
    mounts::unmount_below(path)?;
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(EngineError::host("remove the folder", path)(error))
        }
        _ => Ok(()),
    }
}
