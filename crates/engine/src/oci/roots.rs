//! Language trees where sandboxes can use them as their root: mounted once for all, read-only, on a path that every user may pass.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Mutex,
};

use rustix::mount::{MountFlags, mount_bind, mount_remount};
use warren_model::{EngineName, ServerId};
use warren_runtimes::Tree;

use crate::{EngineError, host::mounts};

/// Above the mounts of all servers; cleared by a restart of the host, as mounts are.
const FOLDER: &str = "/run/warren/trees";
/// No digest.
const VIEW: &str = "view";

/// The trees that one server has mounted for one engine.
#[derive(Debug)]
pub(super) struct Roots {
    folder: PathBuf,
    /// By digest.
    mounted: Mutex<HashMap<String, PathBuf>>,
}

impl Roots {
    /// Mounts nothing yet.
    pub(super) fn new(server: &ServerId, engine: EngineName) -> Self {
        Self {
            folder: Path::new(FOLDER).join(format!("{server}-{engine}")),
            mounted: Mutex::default(),
        }
    }

    /// A folder beside the trees for what a sandbox's program is shown in mounts of its own; always empty to the host, and made at first need.
    pub(super) fn view(&self) -> PathBuf {
        self.folder.join(VIEW)
    }

    /// Where the tree is mounted, by now. Blocking, about a millisecond the first time.
    pub(super) fn of(&self, tree: &Tree) -> Result<PathBuf, EngineError> {
        let mut mounted = self.mounted.lock().unwrap_or_else(|e| e.into_inner());
        let digest = tree.digest.as_str();
        if let Some(point) = mounted.get(digest) {
            return Ok(point.clone());
        }
        let point = self.folder.join(digest);
        fs::create_dir_all(&point).map_err(EngineError::host("create the folder", &point))?;
        let failed = |errno: rustix::io::Errno| EngineError::host("mount", &point)(errno.into());
        mount_bind(&tree.path, &point).map_err(failed)?;
        let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        if let Err(errno) = mount_remount(&point, flags, "") {
            // Never left where it could be written.
            mounts::unmount_below(&point)?;
            return Err(failed(errno));
        }
        mounted.insert(digest.to_owned(), point.clone());
        Ok(point)
    }

    /// Unmounts all, those of an earlier run too; no sandbox is left that needs them. Blocking.
    pub(super) fn remove(&self) -> Result<(), EngineError> {
        let mut mounted = self.mounted.lock().unwrap_or_else(|e| e.into_inner());
        mounts::unmount_below(&self.folder)?;
        mounted.clear();
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            outcome => outcome.map_err(EngineError::host("read the folder", &self.folder))?,
        };
        for entry in entries {
            let point = entry
                .map_err(EngineError::host("read the folder", &self.folder))?
                .path();
            // Empty, or it is still a tree: never removed with what is in it.
            fs::remove_dir(&point).map_err(EngineError::host("remove the folder", &point))?;
        }
        fs::remove_dir(&self.folder)
            .map_err(EngineError::host("remove the folder", &self.folder))?;
        // Another server's may be in it.
        let _ = fs::remove_dir(FOLDER);
        Ok(())
    }
}
