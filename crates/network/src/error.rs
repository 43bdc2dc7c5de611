use std::{io, path::PathBuf};

use thiserror::Error;

/// Why a network could not be made or taken down. Messages are for operators.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A file, mount or socket of the host.
    #[error("could not {action} {path}")]
    Host {
        /// A verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program of the host failed.
    #[error("`{program}` failed: {output}")]
    Program {
        /// The command.
        program: &'static str,
        /// What it printed, or why it could not be started.
        output: String,
    },
    /// The kernel refused a change of links, addresses or routes.
    #[error("the kernel refused to {step}")]
    Kernel {
        /// A verb and its object.
        step: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The uplink did not come up in time.
    #[error("the uplink `pasta` did not come up: {0}")]
    Uplink(String),
    /// The router's thread is gone: the server is stopping.
    #[error("the router namespace is closed")]
    Closed,
    /// The router's thread could not come back from a sandbox's namespace, and ends.
    #[error(
        "the router's thread could not leave a sandbox's network namespace; start the server again"
    )]
    Astray(#[source] Box<NetworkError>),
    /// Every address is taken.
    #[error("all sandbox addresses are in use")]
    Full,
    /// The process to be attached has no network namespace of its own.
    #[error("process {0} has no network namespace of its own")]
    NotASandbox(u32),
    /// A sandbox has a way out that Warren did not make.
    #[error(
        "the sandbox already has the link {0}, which is not Warren's: nothing may be in its network namespace but its loopback"
    )]
    Occupied(String),
    /// The policy can't be enforced here; a sentence with the next step.
    #[error("{0}")]
    Refused(String),
}

impl NetworkError {
    pub(crate) fn host(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Host {
            action,
            path,
            source,
        }
    }
}
