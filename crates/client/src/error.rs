use thiserror::Error;
use warren_model::native::Problem;

/// Why a request has no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address can't be one of a server.
    #[error("'{server}' is no address of a Warren server: {reason}")]
    Address {
        /// As it was given.
        server: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing answers there.
    #[error("no Warren answers at {server}")]
    Unreachable {
        /// The address.
        server: String,
        /// What the system said.
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke before the answer was complete.
    #[error("the connection to {server} broke")]
    Broken {
        /// The address.
        server: String,
        /// What the system said.
        #[source]
        source: reqwest::Error,
    },
    /// The server refused, and said why.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// What answers is no Warren, or one of another version.
    #[error("{server} answered what Warren would not: {reason}")]
    Unexpected {
        /// The address.
        server: String,
        /// What was found.
        reason: String,
    },
}

impl ClientError {
    /// What the server refused, if it did.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }

    /// Whether the server says that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        self.problem().is_some_and(|problem| problem.status == 404)
    }

    /// Whether no server was reached at all.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}
