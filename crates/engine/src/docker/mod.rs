//! One container of a Docker daemon for each instance.
//!
//! The container has no network of Docker's, a read-only root made of the language tree, and four mounts: agent, bootstrap, code (all read-only) and `/tmp`, besides the channel folder. Its PID 1 is the agent.

mod container;
mod daemon;
mod directory;
mod image;
mod reap;

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bollard::Docker;
use tokio::sync::{Mutex, Semaphore};
use warren_model::{Config, EngineName, InstanceId, NetworkPolicy};
use warren_network::{Attachment, Network, NetworkError};
use warren_protocol::StreamKind;
use warren_runtimes::Tree;

use self::container::State;
pub use self::daemon::probe;
use crate::{
    Capabilities, Engine, EngineError, Owner, Reaped, Refusal, Sandbox, SandboxSpec, Unavailable,
    Usage,
    host::{InstanceFolder, cgroup::Cgroup, channel::Channel, disk::Disks},
};

/// Containers of one daemon.
pub struct DockerEngine {
    /// Found at the first need: the daemon's socket may not be there yet.
    docker: OnceLock<Docker>,
    owner: Owner,
    /// Folders of instances.
    run: PathBuf,
    disks: Disks,
    network: Arc<Network>,
    /// Trees known to be imported, by image name; held while one is imported.
    images: Mutex<HashSet<String>>,
    /// Removals at one time: a daemon asked to remove a hundred containers at once serves nobody meanwhile.
    removals: Arc<Semaphore>,
    /// A reap could not reach the daemon: what an earlier run left is still there.
    owed: AtomicBool,
}

/// Most containers that are removed at the same time.
const REMOVALS: usize = 4;
/// Before a failed removal is tried again, the first time and at most.
const REMOVAL_PAUSE: Duration = Duration::from_secs(1);
const MAX_REMOVAL_PAUSE: Duration = Duration::from_secs(30);
/// Between looks whether the agent still runs, while it is waited for.
const LOOK: Duration = Duration::from_millis(100);

impl DockerEngine {
    /// Uses the daemon of `DOCKER_HOST` or the default socket; nothing is asked of it yet. `run` holds the folders of instances, `templates` the formatted disks; the network is ended by a reap that keeps nothing.
    pub fn new(owner: Owner, run: PathBuf, templates: PathBuf, network: Arc<Network>) -> Self {
        network.set_containers(Arc::new(directory::Directory::default()));
        Self {
            docker: OnceLock::new(),
            owner,
            run,
            disks: Disks::new(templates),
            network,
            images: Mutex::default(),
            removals: Arc::new(Semaphore::new(REMOVALS)),
            owed: AtomicBool::new(false),
        }
    }
}

#[async_trait]
impl Engine for DockerEngine {
    fn name(&self) -> EngineName {
        EngineName::Docker
    }

    async fn probe(&self) -> Result<Capabilities, Unavailable> {
        if !rustix::process::geteuid().is_root() {
            return Err(Unavailable {
                reason: "Warren does not run as root, and the /tmp disks of instances need mounts"
                    .to_owned(),
                next_step: "Start the server as root (sudo)".to_owned(),
            });
        }
        let capabilities = match self.found() {
            Ok(docker) => daemon::examine(&docker).await,
            Err(error) => Err(daemon::silent(error)),
        }?;
        self.settle();
        Ok(capabilities)
    }

    fn admit(&self, config: &Config) -> Result<(), Refusal> {
        self.network
            .admit(&config.network)
            .map_err(|message| Refusal {
                field: "network",
                message,
            })
    }

    async fn out_of_reach(&self, config: &Config) -> Vec<String> {
        self.network.out_of_reach(&config.network).await
    }

    fn default_network(&self) -> NetworkPolicy {
        self.network.default_policy()
    }

    async fn prepare(&self, tree: &Tree, config: &Config) -> Result<(), EngineError> {
        tokio::task::block_in_place(|| self.disks.prepare(config.ephemeral_storage))?;
        self.import(tree).await?;
        self.settle();
        Ok(())
    }

    async fn start(&self, spec: SandboxSpec) -> Result<Arc<dyn Sandbox>, EngineError> {
        // A function that asks for a network never starts without its rules.
        self.network
            .enforces(&spec.network)
            .map_err(|reason| EngineError::Network(NetworkError::Refused(reason)))?;
        let docker = self.docker()?;
        let (folder, channel) = tokio::task::block_in_place(|| self.folders(&spec.instance))?;
        let sandbox = Arc::new(DockerSandbox {
            id: spec.instance.clone(),
            name: container::name(&spec.instance),
            docker,
            channel,
            folder,
            agent: spec.agent.clone(),
            start_limit: spec.start_limit,
            removals: Arc::clone(&self.removals),
            cgroup: OnceLock::new(),
            pid: OnceLock::new(),
            container: OnceLock::new(),
            attachment: OnceLock::new(),
            killed: Mutex::new(false),
        });
        match self.launch(&sandbox, &spec).await {
            Ok(()) => {
                self.settle();
                Ok(sandbox)
            }
            Err(error) => {
                if let Err(left) = sandbox.kill().await {
                    tracing::warn!(instance = %spec.instance, error = %left, "a failed start could not be cleaned up yet");
                    tokio::spawn(remove_later(sandbox));
                }
                Err(error)
            }
        }
    }

    async fn reap(&self, keep: &HashSet<InstanceId>) -> Result<Reaped, EngineError> {
        let containers = match self.docker() {
            Ok(docker) => reap::containers(&docker, &self.owner, keep).await,
            Err(error) => Err(error),
        };
        self.owed.store(containers.is_err(), Ordering::Relaxed);
        // Needs no daemon, so an absent one is no reason to leave it.
        let folders = tokio::task::block_in_place(|| {
            let swept = self.disks.sweep();
            let folders = reap::folders(&self.run, keep);
            // No sandbox is left that it serves.
            if keep.is_empty() {
                self.network.remove().map_err(EngineError::Network)?;
            }
            swept.and(folders)
        });
        let reaped = Reaped {
            sandboxes: containers?,
            folders: folders?,
        };
        self.look_for_late();
        Ok(reaped)
    }
}

impl DockerEngine {
    fn found(&self) -> Result<Docker, bollard::errors::Error> {
        if let Some(docker) = self.docker.get() {
            return Ok(docker.clone());
        }
        let found = Docker::connect_with_defaults()?;
        Ok(self.docker.get_or_init(|| found).clone())
    }

    fn docker(&self) -> Result<Docker, EngineError> {
        self.found().map_err(EngineError::docker("be found"))
    }

    /// Goes on with a reap that could not reach the daemon, now that it answers.
    fn settle(&self) {
        if self.owed.swap(false, Ordering::Relaxed) {
            self.look_for_late();
        }
    }

    fn look_for_late(&self) {
        if let Ok(docker) = self.docker() {
            tokio::spawn(reap::late(docker, self.owner.clone()));
        }
    }

    /// The folder of an instance with its channel; nothing is left of it on an error. Blocking.
    fn folders(&self, instance: &InstanceId) -> Result<(InstanceFolder, Channel), EngineError> {
        let folder = InstanceFolder::create(&self.run, instance)?;
        match Channel::create(folder.path(), instance) {
            Ok(channel) => Ok((folder, channel)),
            Err(error) => {
                if let Err(left) = folder.remove() {
                    tracing::warn!(%instance, error = %left, "a failed start could not be cleaned up; the next start of the server will");
                }
                Err(error)
            }
        }
    }

    /// Has the daemon hold the tree as an image.
    async fn import(&self, tree: &Tree) -> Result<(), EngineError> {
        let name = image::name(tree);
        let mut images = self.images.lock().await;
        if images.contains(&name) {
            return Ok(());
        }
        image::ensure(&self.docker()?, tree, &name).await?;
        images.insert(name);
        Ok(())
    }

    async fn launch(
        &self,
        sandbox: &Arc<DockerSandbox>,
        spec: &SandboxSpec,
    ) -> Result<(), EngineError> {
        self.import(&spec.tree).await?;
        let disk = tokio::task::block_in_place(|| {
            self.disks
                .create(sandbox.folder.path(), spec.ephemeral_storage)
        })?;
        let body = container::body(
            spec,
            &self.owner,
            sandbox.channel.folder(),
            &disk,
            self.network.resolv_conf_of(&spec.network).as_deref(),
        );
        let id = match container::create(&sandbox.docker, &sandbox.name, body.clone()).await {
            Ok(id) => id,
            Err(error) if image::is_missing(&error) => {
                // Somebody removed the image since it was imported.
                self.images.lock().await.remove(&image::name(&spec.tree));
                self.import(&spec.tree).await?;
                container::create(&sandbox.docker, &sandbox.name, body)
                    .await
                    .map_err(EngineError::docker("create the container"))?
            }
            Err(error) => return Err(EngineError::docker("create the container")(error)),
        };
        sandbox.container.get_or_init(|| id);
        container::start(&sandbox.docker, &sandbox.name).await?;
        let pid = match container::state(&sandbox.docker, &sandbox.name).await? {
            State::Runs(pid) => pid,
            State::Ended(state) => return Err(sandbox.agent_ended(state)),
        };
        sandbox.pid.get_or_init(|| pid);
        // The agent waits for its claim meanwhile; the function's code runs after it.
        let attached = self
            .network
            .attach(&spec.network, pid, spec.refused.clone());
        if let Some(attachment) = attached.await.map_err(EngineError::Network)? {
            let _ = sandbox.attachment.set(attachment);
        }
        if let Some(cgroup) = Cgroup::of_process(pid) {
            sandbox.cgroup.get_or_init(|| cgroup);
        } else {
            tracing::warn!(instance = %sandbox.id, "the sandbox's cgroup was not found: its memory can't be reported");
        }
        Ok(())
    }
}

/// Tries again until it is removed: a daemon that was away comes back.
async fn remove_later(sandbox: Arc<DockerSandbox>) {
    let mut pause = REMOVAL_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        match sandbox.kill().await {
            Ok(()) => return,
            Err(error) => {
                tracing::debug!(instance = %sandbox.id, %error, "a failed start can't be cleaned up yet");
            }
        }
        pause = (pause * 2).min(MAX_REMOVAL_PAUSE);
    }
}

/// A started container.
struct DockerSandbox {
    id: InstanceId,
    name: String,
    docker: Docker,
    folder: InstanceFolder,
    channel: Channel,
    /// The agent's binary on the host.
    agent: PathBuf,
    start_limit: Duration,
    removals: Arc<Semaphore>,
    cgroup: OnceLock<Cgroup>,
    /// The agent, as this host sees it; none before it was started.
    pid: OnceLock<u32>,
    /// The container's id; none before it was created.
    container: OnceLock<String>,
    /// Its link to the router; none if it has no network.
    attachment: OnceLock<Attachment>,
    /// Whether it is gone; held while it is being removed.
    killed: Mutex<bool>,
}

impl DockerSandbox {
    /// Returns once the agent has ended, with how; looks at this host first, so that a daemon with many starts isn't asked for nothing.
    async fn ended(&self) -> EngineError {
        loop {
            tokio::time::sleep(LOOK).await;
            let here = self
                .pid
                .get()
                .is_some_and(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists());
            if here {
                continue;
            }
            // A daemon that doesn't answer says nothing about the agent.
            if let Ok(State::Ended(state)) = container::state(&self.docker, &self.name).await {
                return self.agent_ended(state);
            }
        }
    }

    fn agent_ended(&self, state: String) -> EngineError {
        EngineError::AgentEnded {
            sandbox: self.name.clone(),
            state,
            agent: self.agent.clone(),
        }
    }
}

#[async_trait]
impl Sandbox for DockerSandbox {
    fn id(&self) -> &InstanceId {
        &self.id
    }

    fn evidence(&self) -> String {
        let id = self.container.get().map_or("", String::as_str);
        format!("container {id}")
    }

    async fn open(&self, kind: StreamKind) -> Result<tokio::net::UnixStream, EngineError> {
        tokio::select! {
            biased;
            opened = self.channel.open(kind, self.start_limit) => opened,
            ended = self.ended() => Err(ended),
        }
    }

    fn seal(&self) -> Result<(), EngineError> {
        self.channel.seal()
    }

    fn usage(&self) -> Option<Usage> {
        self.cgroup.get()?.usage()
    }

    fn peak_bytes(&self) -> Option<u64> {
        self.cgroup.get()?.peak_bytes()
    }

    async fn kill(&self) -> Result<(), EngineError> {
        let mut killed = self.killed.lock().await;
        if *killed {
            return Ok(());
        }
        // The semaphore is never closed.
        let _turn = self.removals.acquire().await;
        container::remove(&self.docker, &self.name).await?;
        if let Some(attachment) = self.attachment.get() {
            attachment.remove().await.map_err(EngineError::Network)?;
        }
        let folder = self.folder.clone();
        tokio::task::spawn_blocking(move || folder.remove())
            .await
            .map_err(|error| {
                EngineError::host("remove", self.folder.path())(std::io::Error::other(error))
            })??;
        *killed = true;
        Ok(())
    }
}
