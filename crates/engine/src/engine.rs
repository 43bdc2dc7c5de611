use std::{collections::HashSet, path::Path, sync::Arc};

use async_trait::async_trait;
use thiserror::Error;
use warren_model::{Config, EngineName, InstanceId, NetworkPolicy, ServerId};
use warren_runtimes::Tree;

use crate::{EngineError, Sandbox, SandboxSpec, Tenant};

/// One isolation technology on this host.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Its name, as owners choose it.
    fn name(&self) -> EngineName;

    /// What works here, or why not and the next step. Really asks; where that takes a sandbox on trial, one that passed is trusted for some seconds.
    async fn probe(&self) -> Result<Capabilities, Unavailable>;

    /// Whether it can run a function with this configuration, at deploy. Asks nobody.
    fn admit(&self, config: &Config) -> Result<(), Refusal>;

    /// What a configuration that is admitted names and its function does not reach as things are, in sentences for the owner.
    async fn out_of_reach(&self, config: &Config) -> Vec<String> {
        let _ = config;
        Vec::new()
    }

    /// Whether a sandbox shows the memory that it was started with for as long as it lives, whatever a claim gives it.
    fn sized_at_start(&self) -> bool {
        false
    }

    /// Memory that an instance may hold beside its function's, as the engine's own is in its group, in MiB.
    fn overhead_mb(&self) -> u32 {
        0
    }

    /// What a new function may reach that does not say.
    fn default_network(&self) -> NetworkPolicy;

    /// Makes what starts of this configuration on this language tree need and can share (an image, a formatted disk). Quick when it was done before.
    async fn prepare(&self, tree: &Tree, config: &Config) -> Result<(), EngineError>;

    /// Starts an instance up to the point where its agent has answered on the control stream. On an error nothing is left behind; what can't be removed
    /// at once is removed as soon as it can be.
    async fn start(&self, spec: SandboxSpec) -> Result<Arc<dyn Sandbox>, EngineError>;

    /// Whether its sandboxes can be written to an image and started from it, any number of times.
    fn restores(&self) -> bool {
        false
    }

    /// Starts an instance from an image that [`Sandbox::checkpoint`] wrote of one with the same specification, claimed by the same tenant; it is that tenant's
    /// from the start. On an error nothing is left behind.
    async fn restore(
        &self,
        spec: SandboxSpec,
        tenant: &Tenant,
        image: &Path,
    ) -> Result<Arc<dyn Sandbox>, EngineError> {
        let _ = (spec, tenant, image);
        Err(EngineError::NoCheckpoints)
    }

    /// Removes every sandbox of this owner that is not in `keep`, never another owner's, and answers how many. What they had on the host besides goes with
    /// [`Host::sweep`](crate::host::Host::sweep) afterwards.
    async fn reap(&self, keep: &HashSet<InstanceId>) -> Result<usize, EngineError>;
}

/// What an engine offers here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// For people: version and variant, such as `Docker 20.10.24, runc, cgroup v1`.
    pub detail: String,
}

/// Why an engine can't be used here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}. {next_step}")]
pub struct Unavailable {
    /// What is wrong.
    pub reason: String,
    /// What the operator can do.
    pub next_step: String,
}

/// Why an engine refuses a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Refusal {
    /// The member of the configuration.
    pub field: &'static str,
    /// A sentence with the next step.
    pub message: String,
}

/// Who owns a sandbox; written into its labels, so that only the owner cleans it up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The data folder.
    pub server: ServerId,
    /// The node's name.
    pub node: String,
    /// Raised at each start of the server.
    pub boot: u64,
}
