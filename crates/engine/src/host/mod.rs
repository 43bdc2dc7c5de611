//! What engines share on the host: each instance's folder, channel, disk, cgroup and link, and the ground that all of them stand on.

pub mod cgroup;
pub mod channel;
pub mod disk;
pub(crate) mod ids;
mod instance;
pub mod mounts;
mod peak;

use std::{
    collections::HashSet,
    ffi::CStr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use warren_model::{EphemeralStorage, InstanceId, NetworkPolicy};
use warren_network::{Network, NetworkError};

pub use self::instance::Instance;
pub(crate) use self::instance::{Seen, remove_folder};
use self::{disk::Disks, ids::Ids};
use crate::{EngineError, Refusal, SandboxSpec};

/// Of the place for folders of instances. Each has a bundle and what its program says, some tens of kilobytes; mode 0755 below a folder that is closed.
const RUN_OPTIONS: &CStr = c"size=1g,mode=0755";

/// The part of this host that one server's instances use, whatever their engines.
pub struct Host {
    /// Folders of instances: a tmpfs of its own once it is open.
    run: PathBuf,
    /// Whether that was mounted.
    opened: AtomicBool,
    disks: Disks,
    network: Arc<Network>,
    ids: Ids,
}

impl Drop for Host {
    /// A sweep that keeps nothing has done it; a start that fails has none.
    fn drop(&mut self) {
        if self.opened.load(Ordering::Relaxed)
            && let Err(error) = mounts::unmount_below(&self.run)
        {
            tracing::warn!(error = %error, "the place of instances may be left; the next start removes it");
        }
    }
}

impl Host {
    /// `run` holds the folders of instances, `templates` the formatted disks; the network is ended by a sweep that keeps nothing.
    pub fn new(run: PathBuf, templates: PathBuf, network: Arc<Network>) -> Self {
        Self {
            run,
            opened: AtomicBool::new(false),
            disks: Disks::new(templates),
            network,
            ids: Ids::new(),
        }
    }

    /// Makes the place for folders of instances: a tmpfs, whose mounts are passed on to the sandboxes that ask for it. After a sweep that kept nothing: it is
    /// an error if anything is mounted there still. Does nothing without root, as [`probe`](Self::probe) says. Blocking.
    pub fn open(&self) -> Result<(), EngineError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        if let Some(left) = mounts::below(&self.run)?.into_iter().next() {
            return Err(EngineError::StillMounted(left));
        }
        let failed = |errno: rustix::io::Errno| {
            EngineError::host("mount a tmpfs at", &self.run)(errno.into())
        };
        // Programs run from it: a sandbox that sees code as part of its folder has the folder's flags.
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("warren", &self.run, "tmpfs", flags, RUN_OPTIONS).map_err(failed)?;
        self.opened.store(true, Ordering::Relaxed);
        mount_change(&self.run, MountPropagationFlags::SHARED).map_err(failed)
    }

    /// What instances reach others through.
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    /// User ids for sandboxes whose users are their own.
    pub(crate) fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Where the folders of instances are.
    pub(crate) fn run(&self) -> &std::path::Path {
        &self.run
    }

    /// Whether the mounts and links that every engine needs can be made by this process.
    pub(crate) fn probe(&self) -> Result<(), crate::Unavailable> {
        if rustix::process::geteuid().is_root() {
            return Ok(());
        }
        Err(crate::Unavailable {
            reason: "Warren does not run as root, and the /tmp disks of instances need mounts"
                .to_owned(),
            next_step: "Start the server as root (sudo)".to_owned(),
        })
    }

    /// Whether a policy is enforced here.
    pub(crate) fn admit(&self, policy: &NetworkPolicy) -> Result<(), Refusal> {
        self.network.admit(policy).map_err(|message| Refusal {
            field: "network",
            message,
        })
    }

    /// Formats what a disk of this size is copied from. Blocking, some 200 ms once.
    pub(crate) fn prepare(&self, storage: EphemeralStorage) -> Result<(), EngineError> {
        self.disks.prepare(storage)
    }

    /// The folder of an instance with its channel; nothing is left of it on an error. A function that asks for a network that can't be enforced never
    /// starts. Blocking, about a millisecond.
    pub(crate) fn instance(&self, spec: &SandboxSpec) -> Result<Instance, EngineError> {
        self.network
            .enforces(&spec.network)
            .map_err(|reason| EngineError::Network(NetworkError::Refused(reason)))?;
        Instance::create(&self.run, spec)
    }

    /// Makes the `/tmp` of an instance and answers where it is. Blocking, some ten milliseconds.
    pub(crate) fn disk(
        &self,
        instance: &Instance,
        storage: EphemeralStorage,
    ) -> Result<PathBuf, EngineError> {
        self.disks.create(&instance.disk(), storage)
    }

    /// Removes the folders of instances that are not kept, with their mounts and loop devices, and the network when none is kept: after the engines have
    /// removed their sandboxes. Answers how many folders. Blocking.
    pub fn sweep(&self, keep: &HashSet<InstanceId>) -> Result<usize, EngineError> {
        let swept = self.disks.sweep();
        let folders = instance::sweep(&self.run, keep);
        // No sandbox is left that they serve.
        if keep.is_empty() {
            mounts::unmount_below(&self.run)?;
            self.network.remove().map_err(EngineError::Network)?;
        }
        swept.and(folders)
    }
}
