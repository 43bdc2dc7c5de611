//! What one instance has on the host, whatever its engine: a folder with its channel and disk, the figures of its cgroup, its link to the router.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use warren_model::InstanceId;
use warren_network::Attachment;

use super::{Host, cgroup::Cgroup, channel::Channel, mounts};
use crate::{EngineError, SandboxSpec, Usage};

/// `RUN/<instance>/`, with `channel/`, `disk.img` and `tmp/` in it, and what goes with it. Dropping it removes nothing: [`remove`](Self::remove) does.
pub struct Instance {
    id: InstanceId,
    folder: PathBuf,
    channel: Channel,
    /// None before its first process was found.
    cgroup: OnceLock<Cgroup>,
    /// None if it has no network.
    attachment: OnceLock<Attachment>,
}

impl Instance {
    /// Makes folder and channel; nothing is left of them on an error.
    pub(super) fn create(run: &Path, id: &InstanceId) -> Result<Self, EngineError> {
        let folder = run.join(id.as_str());
        // Mode 0755 below a folder that is closed: sandboxes get what they need of it by mounts.
        fs::create_dir(&folder).map_err(EngineError::host("create the folder", &folder))?;
        match Channel::create(&folder, id) {
            Ok(channel) => Ok(Self {
                id: id.clone(),
                folder,
                channel,
                cgroup: OnceLock::new(),
                attachment: OnceLock::new(),
            }),
            Err(error) => {
                if let Err(left) = remove_folder(&folder) {
                    tracing::warn!(instance = %id, error = %left, "a failed start could not be cleaned up; the next start of the server will");
                }
                Err(error)
            }
        }
    }

    /// Its id.
    pub fn id(&self) -> &InstanceId {
        &self.id
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where its agent listens.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Connects it to what its policy allows and finds its cgroup; `pid` is its agent, which waits for its claim meanwhile: the function's code runs after it.
    pub(crate) async fn found(
        &self,
        host: &Host,
        spec: &SandboxSpec,
        pid: u32,
    ) -> Result<(), EngineError> {
        self.attach(host, spec, pid).await?;
        self.measure(Cgroup::of_process(pid));
        Ok(())
    }

    /// Gives the network namespace of this process a link to what the policy allows; none for one that allows nothing.
    pub(crate) async fn attach(
        &self,
        host: &Host,
        spec: &SandboxSpec,
        pid: u32,
    ) -> Result<(), EngineError> {
        let attached = host
            .network()
            .attach(&spec.network, pid, spec.refused.clone());
        if let Some(attachment) = attached.await.map_err(EngineError::Network)? {
            let _ = self.attachment.set(attachment);
        }
        Ok(())
    }

    /// The figures of this cgroup are the instance's from now on.
    pub(crate) fn measure(&self, cgroup: Option<Cgroup>) {
        if let Some(cgroup) = cgroup {
            self.cgroup.get_or_init(|| cgroup);
        } else {
            tracing::warn!(instance = %self.id, "the sandbox's cgroup was not found: its memory can't be reported");
        }
    }

    /// Figures of this moment; none once the sandbox is gone.
    pub fn usage(&self) -> Option<Usage> {
        self.cgroup.get()?.usage()
    }

    /// The most memory that the processes there now have used so far, in bytes.
    pub fn peak_bytes(&self) -> Option<u64> {
        self.cgroup.get()?.peak_bytes()
    }

    /// Takes its link away, unmounts everything in its folder and removes it: after its processes are gone. Repeating does nothing.
    pub(crate) async fn remove(&self) -> Result<(), EngineError> {
        if let Some(attachment) = self.attachment.get() {
            attachment.remove().await.map_err(EngineError::Network)?;
        }
        let folder = self.folder.clone();
        tokio::task::spawn_blocking(move || remove_folder(&folder))
            .await
            .map_err(|error| EngineError::host("remove", &self.folder)(io::Error::other(error)))?
    }
}

/// Removes the folders of instances that are not kept, mounts and loop devices with them.
pub(super) fn sweep(run: &Path, keep: &HashSet<InstanceId>) -> Result<usize, EngineError> {
    let mut removed = 0;
    let entries = fs::read_dir(run).map_err(EngineError::host("read the folder", run))?;
    for entry in entries {
        let entry = entry.map_err(EngineError::host("read the folder", run))?;
        let id = InstanceId::new(entry.file_name().to_string_lossy());
        if !keep.contains(&id) {
            remove_folder(&entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Unmounts everything below an instance's folder and removes it; nothing there is success. Blocking, some milliseconds.
pub(crate) fn remove_folder(path: &Path) -> Result<(), EngineError> {
    mounts::unmount_below(path)?;
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(EngineError::host("remove the folder", path)(error))
        }
        _ => Ok(()),
    }
}
