//! Sandboxes that a program starts from an OCI bundle, without a daemon: `runc` and what takes the same command line.
//!
//! The program is there for the start only. What a sandbox is from then on is a group of processes, and it ends as one: by its cgroup, whatever the program
//! thinks of it. Its files are those of its folder, so an end needs no program either.

mod bundle;
mod entry;
mod launch;
mod program;
mod reap;
mod roots;
mod sandbox;
mod seccomp;
mod user_namespace;

use std::{
    collections::HashSet,
    io,
    path::Path,
    process::ExitStatus,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use serde_json::Value;
use tokio::task::block_in_place;
use warren_model::{Config, EngineName, InstanceId, Memory, NetworkPolicy};
use warren_runtimes::Tree;

pub(crate) use self::{
    bundle::{Parts, config},
    entry::{Entry, Source},
    launch::{LOG, OUTPUT, PID, STATE, Standing, Start, words},
    program::Program,
};
use self::{roots::Roots, sandbox::OciSandbox, user_namespace::UserNamespace};
use crate::{
    Capabilities, Engine, EngineError, Owner, Refusal, Sandbox, SandboxSpec, Tenant, Unavailable,
    host::{
        Host, Seen,
        cgroup::{Cgroup, Group, Limits, Slice},
    },
    removal::launched,
};

/// What one OCI runtime does in its own way.
#[async_trait]
pub(crate) trait Runtime: Send + Sync {
    /// As owners choose it.
    const NAME: EngineName;

    /// Whether the program takes the sandbox's link over when it starts, so that the link must be there before it and can't come later.
    const LINK_FIRST: bool = false;

    /// Where a sandbox sees code that is mounted after its start.
    const SEEN: Seen = Seen::Over;

    /// As [`Engine::sized_at_start`].
    const SIZED_AT_START: bool = false;

    /// As [`Engine::overhead_mb`]; the group has room for it.
    const OVERHEAD_MB: u32 = 0;

    /// Whether the program joins a user namespace that is there before it; one with ways of its own makes its own.
    const JOINS_USER_NAMESPACE: bool = false;

    /// Whether it writes sandboxes to images and starts from them.
    const RESTORES: bool = false;

    /// Its program on this host.
    fn program(&self) -> Result<Program, Unavailable>;

    /// For people: the program's version and what it works with here. Asks the program.
    async fn probe(&self, ground: &Ground<'_>) -> Result<String, Unavailable>;

    /// What the group of an instance with this much memory may use.
    fn limits(memory: Memory) -> Limits {
        Limits::of(memory)
    }

    /// The figures of a sandbox, by its group.
    fn figures(&self, group: &Group) -> Option<Cgroup> {
        group.figures()
    }

    /// Its own changes of the common bundle.
    fn adjust(&self, config: &mut Value, view: &Path) {
        let _ = (config, view);
    }

    /// Runs the program until the sandbox is there, and answers how it ended; what it says goes to the start's output. With
    /// [`LINK_FIRST`](Self::LINK_FIRST) it attaches the link on the way.
    async fn run(&self, start: &Start<'_>) -> Result<ExitStatus, EngineError>;

    /// Has the program write a sandbox to an image in this folder.
    async fn checkpoint(&self, sandbox: &Standing<'_>, image: &Path) -> Result<(), EngineError> {
        let _ = (sandbox, image);
        Err(EngineError::NoCheckpoints)
    }
}

/// What an engine stands on.
pub(crate) struct Ground<'a> {
    pub(crate) host: &'a Arc<Host>,
    pub(crate) slice: &'a Slice,
    /// An empty folder on a path that every user may pass; it need not be there yet.
    pub(crate) view: &'a Path,
}

/// Sandboxes of one OCI runtime.
pub(crate) struct OciEngine<R> {
    owner: Owner,
    host: Arc<Host>,
    roots: Roots,
    /// Found at the first need.
    slice: OnceLock<Slice>,
    runtime: Arc<R>,
}

impl<R: Runtime> OciEngine<R> {
    pub(crate) fn new(runtime: R, owner: Owner, host: Arc<Host>) -> Self {
        Self {
            roots: Roots::new(&owner.server, R::NAME),
            owner,
            host,
            slice: OnceLock::new(),
            runtime: Arc::new(runtime),
        }
    }

    fn slice(&self) -> Result<&Slice, EngineError> {
        if let Some(slice) = self.slice.get() {
            return Ok(slice);
        }
        let found = Slice::find(&self.owner.server, R::NAME)?;
        Ok(self.slice.get_or_init(|| found))
    }
}

#[async_trait]
impl<R: Runtime + 'static> Engine for OciEngine<R> {
    fn name(&self) -> EngineName {
        R::NAME
    }

    async fn probe(&self) -> Result<Capabilities, Unavailable> {
        self.host.probe()?;
        let unreadable = |error: EngineError| Unavailable {
            reason: format!("The cgroups of this host can't be read ({error})"),
            next_step: "Mount them at /sys/fs/cgroup".to_owned(),
        };
        let slice = self.slice().map_err(unreadable)?;
        if let Some(missing) = slice.missing() {
            return Err(Unavailable {
                reason: format!("This host has no cgroup controller `{missing}`, and limits would not hold without it"),
                next_step: "Enable it: see cgroup_enable= and systemd.unified_cgroup_hierarchy= of the kernel's command line".to_owned(),
            });
        }
        if R::JOINS_USER_NAMESPACE && user_namespaces() {
            UserNamespace::probe()?;
        }
        let ground = Ground {
            host: &self.host,
            slice,
            view: &self.roots.view(),
        };
        Ok(Capabilities {
            detail: self.runtime.probe(&ground).await?,
        })
    }

    fn admit(&self, config: &Config) -> Result<(), Refusal> {
        self.host.admit(&config.network)
    }

    async fn out_of_reach(&self, config: &Config) -> Vec<String> {
        self.host.network().out_of_reach(&config.network).await
    }

    fn sized_at_start(&self) -> bool {
        R::SIZED_AT_START
    }

    fn overhead_mb(&self) -> u32 {
        R::OVERHEAD_MB
    }

    fn default_network(&self) -> NetworkPolicy {
        self.host.network().default_policy()
    }

    async fn prepare(&self, tree: &Tree, config: &Config) -> Result<(), EngineError> {
        block_in_place(|| {
            self.roots.of(tree)?;
            self.host.prepare(config.ephemeral_storage)
        })
    }

    async fn start(&self, spec: SandboxSpec) -> Result<Arc<dyn Sandbox>, EngineError> {
        self.start_from(spec, None).await
    }

    fn restores(&self) -> bool {
        R::RESTORES
    }

    async fn restore(
        &self,
        spec: SandboxSpec,
        tenant: &Tenant,
        image: &Path,
    ) -> Result<Arc<dyn Sandbox>, EngineError> {
        self.start_from(spec, Some((tenant, image))).await
    }

    async fn reap(&self, keep: &HashSet<InstanceId>) -> Result<usize, EngineError> {
        let slice = self.slice()?;
        block_in_place(|| {
            reap::launchers(self.host.run(), keep)?;
            let removed = reap::groups(slice, keep)?;
            if keep.is_empty() {
                self.roots.remove()?;
            }
            Ok(removed)
        })
    }
}

impl<R: Runtime + 'static> OciEngine<R> {
    /// A new sandbox, or one from an image, which then is its tenant's.
    async fn start_from(
        &self,
        spec: SandboxSpec,
        image: Option<(&Tenant, &Path)>,
    ) -> Result<Arc<dyn Sandbox>, EngineError> {
        let program = self.runtime.program().map_err(EngineError::Unavailable)?;
        let group = self.slice()?.group(&spec.instance);
        let first_id = match user_namespaces() {
            true => Some(block_in_place(|| self.host.ids().take())?),
            false => None,
        };
        let instance = match block_in_place(|| self.host.instance(&spec)) {
            Ok(instance) => instance,
            Err(error) => {
                first_id.inspect(|first| self.host.ids().give_back(*first));
                return Err(error);
            }
        };
        let sandbox = Arc::new(OciSandbox::new(
            Arc::clone(&self.runtime),
            instance,
            group,
            &spec,
            first_id,
            self.roots.view(),
            Arc::clone(&self.host),
        ));
        let launch = self.launch(&program, &sandbox, &spec, image);
        launched(Arc::clone(&sandbox) as _, launch).await
    }
}

/// Whether this host lets root make user namespaces: some switch them off.
fn user_namespaces() -> bool {
    let most = std::fs::read_to_string("/proc/sys/user/max_user_namespaces");
    std::path::Path::new("/proc/self/ns/user").exists()
        && most.is_ok_and(|most| most.trim().parse() != Ok(0_u64))
}

fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::other(error)
}
