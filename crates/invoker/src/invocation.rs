use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;
use warren_model::{EngineName, Outcome, RequestId, TraceHeader, Version};

/// One call of a function.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// What is called.
    pub version: Arc<Version>,
    /// The engine that runs this call in place of the version's own, which must have been [admitted](crate::Invoker::elsewhere).
    pub engine: Option<EngineName>,
    /// As the handler, the log and the caller see it.
    pub request_id: RequestId,
    /// The event; empty becomes `{}`.
    pub payload: Bytes,
    /// The function's ARN as the caller qualified it.
    pub arn: String,
    /// Client context: decoded JSON text.
    pub client_context: Option<String>,
    /// X-Ray header; one is made if there is none.
    pub trace: Option<TraceHeader>,
    /// Whether the answer waits for the log and brings its tail.
    pub tail: bool,
}

impl Invocation {
    /// Where it runs.
    pub(crate) fn engine(&self) -> EngineName {
        self.engine.unwrap_or(self.version.config.engine)
    }
}

/// An invocation that ran.
#[derive(Debug, Clone)]
pub struct Completed {
    /// The function's answer, its error, or how Warren ended it.
    pub outcome: Outcome<Bytes>,
    /// The last 4 KiB of its log, if they were asked for.
    pub log_tail: Option<Vec<u8>>,
}

/// An invocation that did not run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvokeError {
    /// The function's reserved concurrency is used up.
    #[error("the function's reserved concurrency of {limit} is reached")]
    FunctionConcurrency {
        /// Calls at the same time.
        limit: u32,
    },
    /// The account's unreserved concurrency is used up.
    #[error("the account's unreserved concurrency of {limit} is reached")]
    AccountConcurrency {
        /// Calls at the same time.
        limit: u32,
    },
    /// The host has no room.
    #[error("the host is busy; come back in {retry_after_s} s")]
    HostBusy {
        /// Seconds after which another try makes sense.
        retry_after_s: u32,
    },
    /// No instance could be started. The message is for the owner of the server.
    #[error("{0}")]
    Unavailable(String),
    /// The engine can't be used at present; why, and the next step.
    #[error("the engine {engine} can't be used at present. {reason}")]
    EngineUnavailable {
        /// Which one.
        engine: EngineName,
        /// Sentences for the owner of the server.
        reason: String,
    },
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Stopping,
    /// The function was changed or deleted meanwhile.
    #[error("the function was changed or deleted while it was being invoked")]
    Changed,
}
