use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{net::UnixStream, sync::mpsc::UnboundedSender};
use warren_model::{EphemeralStorage, InstanceId, Memory, NetworkPolicy};
use warren_network::Refused;
use warren_protocol::StreamKind;
use warren_runtimes::Tree;

use crate::EngineError;

/// What a sandbox is started from.
#[derive(Debug, Clone)]
pub struct SandboxSpec {
    /// Its id.
    pub instance: InstanceId,
    /// Whose calls it will serve, if that is known; for people who look at the host.
    pub function: Option<String>,
    /// The root file system.
    pub tree: Tree,
    /// The agent's binary on the host.
    pub agent: PathBuf,
    /// What `/var/runtime` holds, if anything.
    pub runtime_folder: Option<PathBuf>,
    /// Memory limit and processor share until it is claimed.
    pub memory: Memory,
    /// Size of `/tmp`.
    pub ephemeral_storage: EphemeralStorage,
    /// What it may reach.
    pub network: NetworkPolicy,
    /// Told what its network policy refuses it.
    pub refused: UnboundedSender<Refused>,
    /// How long the agent may take to answer.
    pub start_limit: Duration,
}

/// Whose a sandbox becomes (docs/decisions/0001, point 6).
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its name; for people who look at the host.
    pub function: String,
    /// What `/var/task` holds from then on.
    pub code: CodeMount,
    /// Memory limit and processor share.
    pub memory: Memory,
}

/// Unpacked code on the host, read-only for everybody.
#[derive(Debug, Clone)]
pub struct CodeMount(pub PathBuf);

/// Host-side figures of a sandbox. Read from its cgroup; nothing inside can forge them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Anonymous and shared memory now, in bytes; no page cache.
    pub memory_bytes: u64,
    /// Processor time since the start, in microseconds.
    pub cpu_us: u64,
    /// Processes killed for memory since the start.
    pub oom_kills: u64,
}

/// One started instance. Dropping it does not end it: call [`kill`](Self::kill).
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// Its id.
    fn id(&self) -> &InstanceId;

    /// Evidence on the host that it is what it says, such as a container id.
    fn evidence(&self) -> String;

    /// Opens a stream to the agent, the hello included. Every engine's channel is a Unix socket on the host's side.
    async fn open(&self, kind: StreamKind) -> Result<UnixStream, EngineError>;

    /// Closes the channel folder to the sandbox: after the streams that it will need are open. A sandbox that can't be sealed must not be used.
    fn seal(&self) -> Result<(), EngineError>;

    /// Makes it a function's, once, before anything of that function runs in it: shows it the code and gives it the memory. A sandbox that could not be claimed
    /// must not be used.
    async fn claim(&self, tenant: &Tenant) -> Result<(), EngineError>;

    /// Stops all its processes where they are; they use no processor until [`thaw`](Self::thaw). Some hundred microseconds.
    async fn freeze(&self) -> Result<(), EngineError>;

    /// Lets its processes go on; nothing if it was not frozen.
    async fn thaw(&self) -> Result<(), EngineError>;

    /// Writes all its processes to an image in this empty folder, after its agent has let its streams go. It is of no use from then on: [`kill`](Self::kill)
    /// it. Refused where what it has on its disk would be missing in what is restored.
    async fn checkpoint(&self, image: &Path) -> Result<(), EngineError> {
        let _ = image;
        Err(EngineError::NoCheckpoints)
    }

    /// Figures of this moment; some tens of microseconds. None once the sandbox is gone.
    fn usage(&self) -> Option<Usage>;

    /// The most memory that the processes there now have used so far, in bytes, bursts between two looks included. None once the sandbox is gone.
    fn peak_bytes(&self) -> Option<u64>;

    /// Tells [`SandboxSpec::refused`] now of what its network refused it until now, which else takes some seconds. Some milliseconds.
    async fn tell_refusals(&self) {}

    /// Ends it and removes all that belongs to it. Repeating does nothing; returns when it is gone.
    async fn kill(&self) -> Result<(), EngineError>;
}
