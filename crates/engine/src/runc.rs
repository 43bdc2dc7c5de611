//! One OCI container for each instance, started by `runc` (or a program that takes its command line) without a daemon.

use std::{process::ExitStatus, sync::Arc};

use async_trait::async_trait;
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

    fn program(&self) -> Result<Program, Unavailable> {
        Program::find(&["runc"])
    }

    async fn probe(&self, ground: &Ground<'_>) -> Result<String, Unavailable> {
        let version = self.program()?.version().await?;
        Ok(format!("{version}, cgroup v{}", ground.slice.version()))
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
