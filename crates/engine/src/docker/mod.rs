//! One container of a Docker daemon for each instance.
//!
//! The container has no network of Docker's, a read-only root made of the language tree, and four mounts: agent, bootstrap, code (all read-only) and `/tmp`, besides the channel folder. Its PID 1 is the agent.

mod container;
mod image;
mod reap;

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use bollard::Docker;
use tokio::sync::{Mutex, Semaphore};
use warren_model::{Config, EngineName, InstanceId};
use warren_protocol::StreamKind;
use warren_runtimes::Tree;

use crate::{
    Capabilities, Engine, EngineError, Owner, Reaped, Refusal, Sandbox, SandboxSpec, Unavailable,
    Usage,
    host::{InstanceFolder, cgroup::Cgroup, channel::Channel, disk::Disks},
};

/// Containers of one daemon.
pub struct DockerEngine {
    docker: Docker,
    owner: Owner,
    /// Folders of instances.
    run: PathBuf,
    disks: Disks,
    /// Trees known to be imported, by image name; held while one is imported.
    images: Mutex<HashSet<String>>,
    /// Removals at one time: a daemon asked to remove a hundred containers at once serves nobody meanwhile.
    removals: Arc<Semaphore>,
}

/// Most containers that are removed at the same time.
const REMOVALS: usize = 4;

impl DockerEngine {
    /// Uses the daemon of `DOCKER_HOST` or the default socket; nothing is asked of it yet. `run` holds the folders of instances, `templates` the formatted disks.
    pub fn connect(owner: Owner, run: PathBuf, templates: PathBuf) -> Result<Self, EngineError> {
        let docker = Docker::connect_with_defaults().map_err(EngineError::docker("be found"))?;
        Ok(Self {
            docker,
            owner,
            run,
            disks: Disks::new(templates),
            images: Mutex::default(),
            removals: Arc::new(Semaphore::new(REMOVALS)),
        })
    }
}

#[async_trait]
impl Engine for DockerEngine {
    fn name(&self) -> EngineName {
        EngineName::Docker
    }

    async fn probe(&self) -> Result<Capabilities, Unavailable> {
        let unavailable = |reason: String, next_step: &str| Unavailable {
            reason,
            next_step: next_step.to_owned(),
        };
        if !rustix::process::geteuid().is_root() {
            return Err(unavailable(
                "Warren does not run as root, and the /tmp disks of instances need mounts"
                    .to_owned(),
                "Start the server as root (sudo)",
            ));
        }
        let info = self.docker.info().await.map_err(|error| {
            unavailable(
                format!("No Docker daemon answers ({error})"),
                "Run `make setup`, start the daemon, or set DOCKER_HOST",
            )
        })?;
        if info.os_type.as_deref().is_some_and(|os| os != "linux") {
            return Err(unavailable(
                "The Docker daemon runs other than Linux containers".to_owned(),
                "Set DOCKER_HOST to a daemon of a Linux host",
            ));
        }
        let cgroup = info.cgroup_version.map(|version| version.to_string());
        Ok(Capabilities {
            detail: format!(
                "Docker {}, {}, cgroup v{}",
                info.server_version.unwrap_or_default(),
                info.default_runtime.unwrap_or_default(),
                cgroup.as_deref().unwrap_or("1"),
            ),
        })
    }

    fn admit(&self, config: &Config) -> Result<(), Refusal> {
        warren_network::admit(&config.network).map_err(|message| Refusal {
            field: "network",
            message,
        })
    }

    async fn prepare(&self, tree: &Tree, config: &Config) -> Result<(), EngineError> {
        tokio::task::block_in_place(|| self.disks.prepare(config.ephemeral_storage))?;
        self.import(tree).await
    }

    async fn start(&self, spec: SandboxSpec) -> Result<Arc<dyn Sandbox>, EngineError> {
        let folder = InstanceFolder::create(&self.run, &spec.instance)?;
        let sandbox = Arc::new(DockerSandbox {
            id: spec.instance.clone(),
            name: container::name(&spec.instance),
            docker: self.docker.clone(),
            channel: Channel::create(folder.path(), &spec.instance)?,
            folder,
            start_limit: spec.start_limit,
            removals: Arc::clone(&self.removals),
            cgroup: OnceLock::new(),
            container: OnceLock::new(),
            killed: Mutex::new(false),
        });
        match self.launch(&sandbox, &spec).await {
            Ok(()) => Ok(sandbox),
            Err(error) => {
                if let Err(left) = sandbox.kill().await {
                    tracing::warn!(instance = %spec.instance, error = %left, "a failed start could not be cleaned up; the next start of the server will");
                }
                Err(error)
            }
        }
    }

    async fn reap(&self, keep: &HashSet<InstanceId>) -> Result<Reaped, EngineError> {
        let reaped = reap::reap(&self.docker, &self.owner, &self.run, keep).await?;
        tokio::spawn(reap::late(self.docker.clone(), self.owner.clone()));
        Ok(reaped)
    }
}

impl DockerEngine {
    /// Has the daemon hold the tree as an image.
    async fn import(&self, tree: &Tree) -> Result<(), EngineError> {
        let name = image::name(tree);
        let mut images = self.images.lock().await;
        if images.contains(&name) {
            return Ok(());
        }
        image::ensure(&self.docker, tree, &name).await?;
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
        let body = container::body(spec, &self.owner, sandbox.channel.folder(), &disk);
        let id = match container::create(&self.docker, &sandbox.name, body.clone()).await {
            Ok(id) => id,
            Err(error) if image::is_missing(&error) => {
                // Somebody removed the image since it was imported.
                self.images.lock().await.remove(&image::name(&spec.tree));
                self.import(&spec.tree).await?;
                container::create(&self.docker, &sandbox.name, body)
                    .await
                    .map_err(EngineError::docker("create the container"))?
            }
            Err(error) => return Err(EngineError::docker("create the container")(error)),
        };
        sandbox.container.get_or_init(|| id);
        container::start(&self.docker, &sandbox.name).await?;
        if let Some(pid) = container::pid(&self.docker, &sandbox.name).await?
            && let Some(cgroup) = Cgroup::of_process(pid)
        {
            sandbox.cgroup.get_or_init(|| cgroup);
        } else {
            tracing::warn!(instance = %sandbox.id, "the sandbox's cgroup was not found: its memory can't be reported");
        }
        Ok(())
    }
}

/// A started container.
struct DockerSandbox {
    id: InstanceId,
    name: String,
    docker: Docker,
    folder: InstanceFolder,
    channel: Channel,
    start_limit: std::time::Duration,
    removals: Arc<Semaphore>,
    cgroup: OnceLock<Cgroup>,
    /// The container's id; none before it was created.
    container: OnceLock<String>,
    /// Whether it is gone; held while it is being removed.
    killed: Mutex<bool>,
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
        self.channel.open(kind, self.start_limit).await
    }

    fn seal(&self) {
        self.channel.seal();
    }

    fn usage(&self) -> Option<Usage> {
        self.cgroup.get()?.usage()
    }

    async fn kill(&self) -> Result<(), EngineError> {
        let mut killed = self.killed.lock().await;
        if *killed {
            return Ok(());
        }
        // The semaphore is never closed.
        let _turn = self.removals.acquire().await;
        container::remove(&self.docker, &self.name).await?;
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
