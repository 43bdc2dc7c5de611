//! An engine of one's own, as `docs/adding-an-engine.md` describes it: a module like this one, and a line where engines are listed. It starts what runc starts under another
//! name: what is tried here is that nothing else in Warren has to know an engine's name.

use std::{collections::HashSet, path::Path, sync::Arc};

use async_trait::async_trait;
use warren_engine::{
    Capabilities, Engine, EngineError, Owner, Refusal, Sandbox, SandboxSpec, Unavailable, built_in,
    host::Host,
};
use warren_model::{Config, EngineName, InstanceId, NetworkPolicy};
use warren_runtimes::Tree;

const NAME: EngineName = EngineName::named("own");

struct OwnEngine {
    base: Arc<dyn Engine>,
}

/// The engine; nothing is asked of the host yet.
pub(crate) fn engine(owner: &Owner, host: &Arc<Host>, cache: &Path) -> Arc<dyn Engine> {
    let mut all = built_in(owner, host, cache).into_iter();
    let base = all.find(|engine| engine.name() == EngineName::named("runc"));
    Arc::new(OwnEngine {
        base: base.unwrap(),
    })
}

#[async_trait]
impl Engine for OwnEngine {
    fn name(&self) -> EngineName {
        NAME
    }

    async fn probe(&self) -> Result<Capabilities, Unavailable> {
        self.base.probe().await
    }

    fn admit(&self, config: &Config) -> Result<(), Refusal> {
        self.base.admit(config)
    }

    fn default_network(&self) -> NetworkPolicy {
        self.base.default_network()
    }

    async fn prepare(&self, tree: &Tree, config: &Config) -> Result<(), EngineError> {
        self.base.prepare(tree, config).await
    }

    async fn start(&self, spec: SandboxSpec) -> Result<Arc<dyn Sandbox>, EngineError> {
        self.base.start(spec).await
    }

    async fn reap(&self, keep: &HashSet<InstanceId>) -> Result<usize, EngineError> {
        self.base.reap(keep).await
    }
}
