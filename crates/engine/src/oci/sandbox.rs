//! A started sandbox of an OCI runtime.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};
use tokio::{net::UnixStream, sync::Mutex, task::block_in_place};
use warren_model::{InstanceId, Memory};
use warren_protocol::StreamKind;

use super::{Runtime, Standing, launch::words, other};
use crate::{
    EngineError, Sandbox, SandboxSpec, Tenant, Usage,
    host::{Host, Instance, Seen, cgroup::Group},
};

/// Between looks whether the agent still runs, while it is waited for.
const LOOK: Duration = Duration::from_millis(20);

pub(super) struct OciSandbox<R> {
    runtime: Arc<R>,
    instance: Instance,
    group: Group,
    /// The agent's binary on the host.
    agent: PathBuf,
    start_limit: Duration,
    /// What it was started with.
    memory: Memory,
    /// The first of its user ids, taken from the host's.
    first_id: Option<u32>,
    /// As in [`Ground`](super::Ground).
    view: PathBuf,
    host: Arc<Host>,
    /// PID 1 of the sandbox; none before it was started.
    init: OnceLock<Init>,
    /// Whether it is gone; held while it is being removed.
    killed: Mutex<bool>,
}

/// A process that is followed by its descriptor, which no other process can take over.
struct Init {
    pid: u32,
    descriptor: OwnedFd,
}

impl<R: Runtime> OciSandbox<R> {
    pub(super) fn new(
        runtime: Arc<R>,
        instance: Instance,
        group: Group,
        spec: &SandboxSpec,
        first_id: Option<u32>,
        view: PathBuf,
        host: Arc<Host>,
    ) -> Self {
        Self {
            runtime,
            instance,
            group,
            agent: spec.agent.clone(),
            start_limit: spec.start_limit,
            memory: spec.memory,
            first_id,
            view,
            host,
            init: OnceLock::new(),
            killed: Mutex::new(false),
        }
    }

    pub(super) fn instance(&self) -> &Instance {
        &self.instance
    }

    pub(super) fn group(&self) -> &Group {
        &self.group
    }

    pub(super) fn first_id(&self) -> Option<u32> {
        self.first_id
    }

    /// Shows it a function's code, before anything of that function runs in it. Blocking.
    pub(super) fn show_code(&self, tenant: &Tenant) -> Result<(), EngineError> {
        self.instance.become_of(tenant, R::SEEN)
    }

    /// The program says that this process is PID 1 of the sandbox.
    pub(super) fn started(&self, pid: u32) -> Result<(), EngineError> {
        let opened = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or(rustix::io::Errno::INVAL)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::NONBLOCK));
        let descriptor = match opened {
            Ok(descriptor) => descriptor,
            Err(rustix::io::Errno::SRCH) => return Err(self.agent_ended()),
            Err(errno) => return Err(self.unseen(errno.into())),
        };
        // Another process could have got the number before the descriptor was opened.
        if !self.group.holds(pid) {
            return Err(self.agent_ended());
        }
        let _ = self.init.set(Init { pid, descriptor });
        Ok(())
    }

    fn unseen(&self, error: std::io::Error) -> EngineError {
        EngineError::host("follow the agent of", self.instance.folder())(error)
    }

    /// Returns once the agent has ended, with what it said.
    async fn ended(&self) -> EngineError {
        let Some(init) = self.init.get() else {
            return self.agent_ended();
        };
        // Readable once the process has ended (pidfd_open(2)).
        let ended = || {
            let mut asked = [PollFd::new(&init.descriptor, PollFlags::IN)];
            poll(&mut asked, Some(&Timespec::default()))
        };
        loop {
            match ended() {
                Ok(0) | Err(rustix::io::Errno::INTR) => tokio::time::sleep(LOOK).await,
                Ok(_) => return self.agent_ended(),
                Err(errno) => return self.unseen(errno.into()),
            }
        }
    }

    fn agent_ended(&self) -> EngineError {
        let said = words(self.instance.folder());
        EngineError::AgentEnded {
            sandbox: self.instance.id().to_string(),
            state: match said.is_empty() {
                true => "it said nothing".to_owned(),
                false => said,
            },
            agent: self.agent.clone(),
        }
    }
}

#[async_trait]
impl<R: Runtime + 'static> Sandbox for OciSandbox<R> {
    fn id(&self) -> &InstanceId {
        self.instance.id()
    }

    fn evidence(&self) -> String {
        let pid = self.init.get().map_or(0, |init| init.pid);
        format!("{} process {pid}, cgroup {}", R::NAME, self.group.path())
    }

    async fn open(&self, kind: StreamKind) -> Result<UnixStream, EngineError> {
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
        match R::SEEN {
            Seen::Over => self.show_code(tenant)?,
            // Of many entries, milliseconds.
            Seen::Within => block_in_place(|| self.show_code(tenant))?,
        }
        if tenant.memory != self.memory {
            self.group.raise(&R::limits(tenant.memory))?;
        }
        Ok(())
    }

    async fn freeze(&self) -> Result<(), EngineError> {
        self.instance.freeze()
    }

    async fn thaw(&self) -> Result<(), EngineError> {
        self.instance.thaw()
    }

    async fn checkpoint(&self, image: &Path) -> Result<(), EngineError> {
        if !self.instance.disk_is_empty()? {
            return Err(EngineError::Unsuited(
                "its Init left files in /tmp".to_owned(),
            ));
        }
        let standing = Standing {
            instance: &self.instance,
            group: &self.group,
            first_id: self.first_id,
            view: &self.view,
        };
        self.runtime.checkpoint(&standing, image).await
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
        let group = self.group.clone();
        tokio::task::spawn_blocking(move || group.end())
            .await
            .map_err(|error| EngineError::host("end", self.instance.folder())(other(error)))??;
        self.instance.remove().await?;
        if let Some(first) = self.first_id {
            self.host.ids().give_back(first);
        }
        *killed = true;
        Ok(())
    }
}
