//! One container of a Docker daemon for each instance.
//!
//! The container has no network of Docker's, a read-only root made of the language tree, and four mounts: agent, bootstrap, code (all read-only, the code from its claim on) and `/tmp`, besides the channel folder. Its PID 1 is the agent.

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
use warren_model::{Config, EngineName, InstanceId, Memory, NetworkPolicy};
use warren_protocol::StreamKind;
use warren_runtimes::Tree;

use self::container::State;
pub use self::daemon::probe;
use crate::{
    Capabilities, Engine, EngineError, Owner, Refusal, Sandbox, SandboxSpec, Tenant, Unavailable,
    Usage,
    host::{
        Host, Instance, Seen,
        cgroup::{Cgroup, Freezer},
    },
    removal::launched,
};

/// Containers of one daemon.
pub struct DockerEngine {
    /// Found at the first need: the daemon's socket may not be there yet.
    docker: OnceLock<Docker>,
    owner: Owner,
    host: Arc<Host>,
    /// Trees known to be imported, by image name; held while one is imported.
    images: Mutex<HashSet<String>>,
    /// Removals at one time: a daemon asked to remove a hundred containers at once serves nobody meanwhile.
    removals: Arc<Semaphore>,
    /// A reap could not reach the daemon: what an earlier run left is still there.
    owed: AtomicBool,
}

/// Most containers that are removed at the same time.
const REMOVALS: usize = 4;
/// Between looks whether the agent still runs, while it is waited for.
const LOOK: Duration = Duration::from_millis(100);

impl DockerEngine {
    /// Uses the daemon of `DOCKER_HOST` or the default socket; nothing is asked of it yet.
    pub fn new(owner: Owner, host: Arc<Host>) -> Self {
        host.network()
            .set_containers(Arc::new(directory::Directory::default()));
        Self {
            docker: OnceLock::new(),
            owner,
            host,
            images: Mutex::default(),
            removals: Arc::new(Semaphore::new(REMOVALS)),
            owed: AtomicBool::new(false),
        }
    }
}

#[async_trait]
impl Engine for DockerEngine {
    fn name(&self) -> EngineName {
        EngineName::DOCKER
    }

    async fn probe(&self) -> Result<Capabilities, Unavailable> {
        self.host.probe()?;
        let capabilities = match self.found() {
            Ok(docker) => daemon::examine(&docker).await,
            Err(error) => Err(daemon::silent(error)),
        }?;
        self.settle();
        Ok(capabilities)
    }

    fn admit(&self, config: &Config) -> Result<(), Refusal> {
        self.host.admit(&config.network)
    }

    async fn out_of_reach(&self, config: &Config) -> Vec<String> {
        self.host.network().out_of_reach(&config.network).await
    }

    fn default_network(&self) -> NetworkPolicy {
        self.host.network().default_policy()
    }

    async fn prepare(&self, tree: &Tree, config: &Config) -> Result<(), EngineError> {
        tokio::task::block_in_place(|| self.host.prepare(config.ephemeral_storage))?;
        self.import(tree).await?;
        self.settle();
        Ok(())
    }

    async fn start(&self, spec: SandboxSpec) -> Result<Arc<dyn Sandbox>, EngineError> {
        let docker = self.docker()?;
        let instance = tokio::task::block_in_place(|| self.host.instance(&spec))?;
        let sandbox = Arc::new(DockerSandbox {
            name: container::name(&spec.instance),
            docker,
            instance,
            agent: spec.agent.clone(),
            start_limit: spec.start_limit,
            memory: spec.memory,
            removals: Arc::clone(&self.removals),
            pid: OnceLock::new(),
            container: OnceLock::new(),
            killed: Mutex::new(false),
        });
        let launch = self.launch(&sandbox, &spec);
        let started = launched(Arc::clone(&sandbox) as _, launch).await;
        if started.is_ok() {
            self.settle();
        }
        started
    }

    async fn reap(&self, keep: &HashSet<InstanceId>) -> Result<usize, EngineError> {
        let containers = match self.docker() {
            Ok(docker) => reap::containers(&docker, &self.owner, keep).await,
            Err(error) => Err(error),
        };
        self.owed.store(containers.is_err(), Ordering::Relaxed);
        self.look_for_late();
        containers
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
            self.host.disk(&sandbox.instance, spec.ephemeral_storage)
        })?;
        let body = container::body(
            spec,
            &self.owner,
            &sandbox.instance,
            &disk,
            self.host.network().resolv_conf_of(&spec.network).as_deref(),
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
        let instance = &sandbox.instance;
        instance.attach(&self.host, spec, pid).await?;
        instance.measure(Freezer::of_process(pid), Cgroup::of_process(pid));
        Ok(())
    }
}

/// A started container.
struct DockerSandbox {
    name: String,
    docker: Docker,
    instance: Instance,
    /// The agent's binary on the host.
    agent: PathBuf,
    start_limit: Duration,
    /// What it was started with.
    memory: Memory,
    removals: Arc<Semaphore>,
    /// The agent, as this host sees it; none before it was started.
    pid: OnceLock<u32>,
    /// The container's id; none before it was created.
    container: OnceLock<String>,
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
        self.instance.id()
    }

    fn evidence(&self) -> String {
        let id = self.container.get().map_or("", String::as_str);
        format!("container {id}")
    }

    async fn open(&self, kind: StreamKind) -> Result<tokio::net::UnixStream, EngineError> {
        tokio::select! {
            biased;
            opened = self.instance.channel().open(kind, self.start_limit) => opened,
            ended = self.ended() => Err(ended),
        }
    }

    fn seal(&self) -> Result<(), EngineError> {
        self.instance.channel().seal()
    }

    async fn claim(&self, tenant: &Tenant) -> Result<(), EngineError> {
        self.instance.become_of(tenant, Seen::Over)?;
        if tenant.memory != self.memory {
            container::limit(&self.docker, &self.name, tenant.memory).await?;
        }
        Ok(())
    }

    async fn freeze(&self) -> Result<(), EngineError> {
        self.instance.freeze()
    }

    async fn thaw(&self) -> Result<(), EngineError> {
        self.instance.thaw()
    }

    fn usage(&self) -> Option<Usage> {
        self.instance.usage()
    }

    fn peak_bytes(&self) -> Option<u64> {
        self.instance.peak_bytes()
    }

    async fn tell_refusals(&self) {
        self.instance.tell_refusals().await;
    }

    async fn kill(&self) -> Result<(), EngineError> {
        let mut killed = self.killed.lock().await;
        if *killed {
            return Ok(());
        }
        // The semaphore is never closed.
        let _turn = self.removals.acquire().await;
        // Some runtimes can't end what is frozen. Where it can't be thawed, the daemon says whether it could be ended.
        if let Err(error) = self.instance.thaw() {
            tracing::warn!(instance = %self.instance.id(), error = %warren_model::chain(&error), "a container that is to be removed could not be thawed");
        }
        container::remove(&self.docker, &self.name).await?;
        self.instance.remove().await?;
        *killed = true;
        Ok(())
    }
}
