use async_trait::async_trait;
use thiserror::Error;
use warren_model::{Config, StateReason, Version};

/// What must be done before a version can run, and whether it may at all: the registry's view of languages and engines.
#[async_trait]
pub trait Prepare: Send + Sync + 'static {
    /// Whether this server could run a function of this configuration; asked before anything is stored, while the client waits. With `force` an engine that
    /// can't be used at present is no reason to refuse.
    async fn admit(&self, config: &Config, force: bool) -> Result<(), Refusal>;

    /// Makes all that running this version needs: the language's tree, the unpacked code, the engine's image. Idempotent: it is called again after a
    /// restart in between. May take minutes; runs beside calls and other preparations.
    async fn prepare(&self, version: &Version) -> Result<(), PrepareError>;
}

/// A configuration that can't run here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Refusal {
    /// The member at fault, in lower camel case, as in [`warren_model::Invalid`].
    pub field: String,
    /// A full sentence: what is wrong and the next step.
    pub reason: String,
}

/// A preparation failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct PrepareError {
    /// Lambda's reason code, such as `InternalError`, `InvalidRuntime` or `InvalidZipFileException`.
    pub code: String,
    /// For the function's owner: what failed and the next step.
    pub message: String,
}

impl From<PrepareError> for StateReason {
    fn from(error: PrepareError) -> Self {
        Self {
            code: error.code,
            message: error.message,
        }
    }
}
