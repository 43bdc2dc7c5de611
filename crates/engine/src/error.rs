use std::path::PathBuf;

use thiserror::Error;
use warren_protocol::ProtocolError;

/// Why an engine could not do what it was asked. Messages are for operators; callers of functions see only that the platform failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The Docker daemon refused or is away.
    #[error("the Docker daemon could not {action}")]
    Docker {
        /// What was asked, as a verb and object.
        action: &'static str,
        /// What the daemon said.
        #[source]
        source: Box<bollard::errors::Error>,
    },
    /// A file, folder or mount on the host.
    #[error("could not {action} {path}")]
    Host {
        /// A verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// What an earlier run had mounted could not be unmounted.
    #[error(
        "{0} is still mounted, from an earlier run: unmount it (`umount -l {0}`) and start again"
    )]
    StillMounted(PathBuf),
    /// A program of the host that the engine uses failed.
    #[error("`{program}` failed: {output}")]
    Program {
        /// The command.
        program: String,
        /// What it printed, or why it could not be started.
        output: String,
    },
    /// What the engine needs of this host is not there.
    #[error(transparent)]
    Unavailable(crate::Unavailable),
    /// Every range of user ids is in use.
    #[error(
        "no user ids are left for another sandbox: all 4,096 ranges are reserved by the servers of this machine, or in use by what a killed one left. Stop servers that are not needed, start killed ones again, or use a smaller --max-instances"
    )]
    NoUserIds,
    /// The sandbox could not get its network, or be parted from it.
    #[error("the sandbox's network failed")]
    Network(#[source] warren_network::NetworkError),
    /// The agent did not answer in time.
    #[error("the sandbox's agent did not answer within {0:?}")]
    AgentSilent(std::time::Duration),
    /// The agent ended instead of listening.
    #[error(
        "the agent of {sandbox} ended before it listened ({state}). Look at what the engine says of it (a Docker daemon: `journalctl -u docker`) and whether this host can run {agent}"
    )]
    AgentEnded {
        /// The sandbox's name at its engine.
        sandbox: String,
        /// How it ended, such as an exit code, or what it said.
        state: String,
        /// The agent's binary on the host.
        agent: PathBuf,
    },
    /// The agent closed or broke its stream during the hello.
    #[error("the sandbox's agent broke the hello")]
    Hello(#[source] ProtocolError),
    /// The stream to the agent failed.
    #[error("the stream to the sandbox's agent failed")]
    Stream(#[source] std::io::Error),
    /// No sandbox of this engine can be written to an image.
    #[error("this engine takes no checkpoints")]
    NoCheckpoints,
    /// A sandbox can't be written to an image as it is; why, for the function's owner.
    #[error("no checkpoint can be taken: {0}")]
    Unsuited(String),
    /// What listens is not the agent's socket.
    #[error("the agent's socket is not a socket")]
    NotASocket,
}

impl EngineError {
    pub(crate) fn host(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Host {
            action,
            path,
            source,
        }
    }

    pub(crate) fn docker(action: &'static str) -> impl FnOnce(bollard::errors::Error) -> Self {
        move |source| Self::Docker {
            action,
            source: Box::new(source),
        }
    }
}
