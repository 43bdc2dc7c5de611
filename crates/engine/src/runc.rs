//! One OCI container for each instance, started by `runc` (or a program that takes its command line) without a daemon.

use std::{path::Path, process::ExitStatus, sync::Arc};

use async_trait::async_trait;
use serde_json::Value;
use warren_model::EngineName;

use crate::{
    Engine, EngineError, Owner, Unavailable,
    host::Host,
    oci::{Ground, OciEngine, Program, Runtime, Start},
};

struct Runc;

#[async_trait]
impl Runtime for Runc {
    const NAME: EngineName = EngineName::named("runc");
    const JOINS_USER_NAMESPACE: bool = true;

    fn program(&self) -> Result<Program, Unavailable> {
        Program::find(&["runc"])
    }

    async fn probe(&self, ground: &Ground<'_>) -> Result<String, Unavailable> {
        let version = self.program()?.version().await?;
        Ok(format!("{version}, cgroup v{}", ground.slice.version()))
    }

    /// They are set by [`Start::command`].
    fn adjust(&self, config: &mut Value, _view: &Path) {
        if let Some(process) = config["process"].as_object_mut() {
            process.remove("rlimits");
        }
    }

    async fn run(&self, start: &Start<'_>) -> Result<ExitStatus, EngineError> {
        let status = start.command()?.status().await;
        status.map_err(|error| start.failed(error))
    }
}

/// The engine; nothing is asked of the host yet.
pub fn engine(owner: Owner, host: Arc<Host>) -> Arc<dyn Engine> {
    Arc::new(OciEngine::new(Runc, owner, host))
}
