//! What one instance has on the host, whatever its engine: a folder with its channel and disk, the figures of its cgroup, its link to the router.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};
use warren_model::InstanceId;
use warren_network::Attachment;

use super::{
    Host,
    cgroup::{Cgroup, Freezer},
    channel::Channel,
    mounts,
};
use crate::{EngineError, SandboxSpec, Tenant, Usage};

/// Names below the folder.
const TASK: &str = "task";
const CODE: &str = "code";
const FUNCTION: &str = "function";
const DISK: &str = "tmp";

/// Which of the mounts that are made on the host later a sandbox sees at a folder that it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Those over the folder.
    Over,
    /// Those within it, and none over it: it has the folder itself open.
    Within,
}

/// `RUN/<instance>/`, with `channel/`, `task/`, `tmp/` and, once it is one's, `function` in it, and what goes with it. Dropping it removes nothing: [`remove`](Self::remove) does.
pub struct Instance {
    id: InstanceId,
    folder: PathBuf,
    /// What it has at `/var/task`.
    task: PathBuf,
    channel: Channel,
    /// None before its first process was found.
    cgroup: OnceLock<Cgroup>,
    freezer: OnceLock<Freezer>,
    /// None if it has no network.
    attachment: OnceLock<Attachment>,
}

impl Instance {
    /// Makes folder and channel; nothing is left of them on an error.
    pub(super) fn create(run: &Path, spec: &SandboxSpec) -> Result<Self, EngineError> {
        let id = &spec.instance;
        let folder = run.join(id.as_str());
        // Mode 0755 below a folder that is closed: sandboxes get what they need of it by mounts.
        fs::create_dir(&folder).map_err(EngineError::host("create the folder", &folder))?;
        let task = folder.join(TASK);
        let made = fs::create_dir(&task)
            .map_err(EngineError::host("create the folder", &task))
            .and_then(|()| {
                spec.function
                    .as_ref()
                    .map_or(Ok(()), |name| say(&folder, name))
            })
            .and_then(|()| Channel::create(&folder, id));
        match made {
            Ok(channel) => Ok(Self {
                id: id.clone(),
                folder,
                task,
                channel,
                cgroup: OnceLock::new(),
                freezer: OnceLock::new(),
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

    /// What it has at `/var/task`: empty until it [is a function's](Self::become_of).
    pub(crate) fn task(&self) -> &Path {
        &self.task
    }

    /// Where its disk is mounted once it has one.
    pub(crate) fn disk(&self) -> PathBuf {
        self.folder.join(DISK)
    }

    /// Whether nothing was written to its disk that is still there.
    pub(crate) fn disk_is_empty(&self) -> Result<bool, EngineError> {
        let disk = self.disk();
        let mut entries = fs::read_dir(&disk).map_err(EngineError::host("read", &disk))?;
        Ok(entries.next().is_none())
    }

    /// Mounts a function's code where the sandbox sees it, read-only. Before anything of a function runs in it. Blocking, some ten microseconds; for each entry
    /// of the code if it is seen [within](Seen::Within) alone.
    pub(crate) fn become_of(&self, tenant: &Tenant, seen: Seen) -> Result<(), EngineError> {
        say(&self.folder, &tenant.function)?;
        let folder = &tenant.code.0;
        let code = ReadOnly::of(folder, self.folder.join(CODE))?;
        match seen {
            Seen::Over => code.show(Path::new(""), self.task()),
            Seen::Within => self.show_entries(&code, folder),
        }
    }

    fn show_entries(&self, code: &ReadOnly, folder: &Path) -> Result<(), EngineError> {
        for entry in fs::read_dir(folder).map_err(EngineError::host("read", folder))? {
            let entry = entry.map_err(EngineError::host("read", folder))?;
            let (source, place) = (entry.path(), self.task().join(entry.file_name()));
            let kind = entry
                .file_type()
                .map_err(EngineError::host("read", &source))?;
            let made = EngineError::host("create", &place);
            if kind.is_symlink() {
                let target = fs::read_link(&source).map_err(EngineError::host("read", &source))?;
                std::os::unix::fs::symlink(target, &place).map_err(made)?;
                continue;
            }
            match kind.is_dir() {
                true => fs::create_dir(&place),
                false => fs::File::create(&place).map(drop),
            }
            .map_err(made)?;
            code.show(Path::new(&entry.file_name()), &place)?;
        }
        Ok(())
    }

    /// Stops all processes of the sandbox.
    pub(crate) fn freeze(&self) -> Result<(), EngineError> {
        match self.freezer.get() {
            Some(freezer) => freezer.freeze(),
            None => Err(EngineError::host("find the freezer of", &self.folder)(
                io::ErrorKind::NotFound.into(),
            )),
        }
    }

    /// Lets them go on.
    pub(crate) fn thaw(&self) -> Result<(), EngineError> {
        self.freezer.get().map_or(Ok(()), Freezer::thaw)
    }

    /// Gives the network namespace of this process a link to what the policy allows; none for one that allows nothing. Before anything of a function runs in
    /// it.
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

    /// Takes these for the instance's from now on.
    pub(crate) fn measure(&self, freezer: Option<Freezer>, cgroup: Option<Cgroup>) {
        if let Some(freezer) = freezer {
            self.freezer.get_or_init(|| freezer);
        }
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

    /// Tells now of what it was refused until now.
    pub(crate) async fn tell_refusals(&self) {
        if let Some(attachment) = self.attachment.get() {
            attachment.tell_refusals().await;
        }
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

/// Whose it is, for people who look at the host: labels can't change.
fn say(folder: &Path, function: &str) -> Result<(), EngineError> {
    let file = folder.join(FUNCTION);
    fs::write(&file, function).map_err(EngineError::host("write", &file))
}

/// Code as a mount that can't be written, where no sandbox sees it. Mounts that are made of it can't be written from their first moment on, in sandboxes too:
/// what is changed of a mount later is not passed on (mount_namespaces(7)). Dropping it takes this mount away, and not those.
struct ReadOnly(PathBuf);

impl ReadOnly {
    fn of(code: &Path, place: PathBuf) -> Result<Self, EngineError> {
        fs::create_dir(&place).map_err(EngineError::host("create the folder", &place))?;
        let failed = |errno: rustix::io::Errno| EngineError::host("mount", &place)(errno.into());
        mount_bind(code, &place).map_err(failed)?;
        let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        mount_remount(&place, flags, "").map_err(failed)?;
        Ok(Self(place))
    }

    /// Mounts an entry of it, or all.
    fn show(&self, entry: &Path, place: &Path) -> Result<(), EngineError> {
        let source = match entry.as_os_str().is_empty() {
            true => self.0.clone(),
            false => self.0.join(entry),
        };
        mount_bind(source, place).map_err(|errno| EngineError::host("mount", place)(errno.into()))
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        // It would go with the instance's folder.
        if let Err(errno) = unmount(&self.0, UnmountFlags::DETACH) {
            tracing::warn!(place = %self.0.display(), error = %errno, "code could not be unmounted; it is with its instance");
        }
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
