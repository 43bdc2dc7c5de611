//! From a version to what an engine starts: language tree, unpacked code, kit. The same steps serve deploy (as [`Prepare`]) and each start, where they find everything done.

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use thiserror::Error;
use tokio::sync::mpsc::UnboundedSender;
use warren_engine::{CodeMount, Engine, Refused, SandboxSpec, Tenant};
use warren_model::{
    Config, EngineName, EphemeralStorage, InstanceId, Memory, NetworkPolicy, Version, chain,
};
use warren_package::{BlobStore, Unpacked};
use warren_registry::{Prepare, PrepareError, Refusal};
use warren_runtimes::{Catalogue, Kit, Progress, Recipe, Tree, Trees};

use crate::{InvokeError, Probes};

/// How long a sandbox's agent may take to answer.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The engines of this server, by name.
pub type Engines = BTreeMap<EngineName, Arc<dyn Engine>>;

/// Makes versions startable.
pub struct Launcher {
    /// Languages.
    pub catalogue: Arc<Catalogue>,
    /// Root file systems.
    pub trees: Trees,
    /// Agent and bootstraps.
    pub kit: Kit,
    /// Zips.
    pub blobs: Arc<dyn BlobStore>,
    /// Unpacked zips.
    pub unpacked: Arc<Unpacked>,
    /// The unpacked code of one-shot runs, each in a folder of its own, and nothing else.
    pub run_code: Unpacked,
    /// Isolation.
    pub engines: Engines,
    /// Trees that are being built.
    pub builds: Builds,
    /// What engines said of themselves lately.
    pub probes: Probes,
    /// Memory for all instances together, in MB, without that of sandboxes started ahead.
    pub memory_mb: u64,
}

/// How far builds of language trees are, by recipe; for whoever waits for one.
#[derive(Debug, Default)]
pub struct Builds(Mutex<BTreeMap<String, Progress>>);

impl Builds {
    /// The latest news of a build under way.
    pub fn of(&self, recipe: &str) -> Option<Progress> {
        self.lock().get(recipe).cloned()
    }

    /// Keeps the news; whether a step has begun.
    fn tell(&self, progress: Progress) -> bool {
        let step = progress.step;
        let before = self.lock().insert(progress.recipe.clone(), progress);
        before.is_none_or(|before| before.step != step)
    }

    fn end(&self, recipe: &str) {
        self.lock().remove(recipe);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Progress>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Why a version can't be called on another engine than its own.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Elsewhere {
    /// It can't run there, or nothing can at present.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The platform failed to make it ready.
    #[error(transparent)]
    Failed(#[from] InvokeError),
}

/// What could not be made, for people.
type Failure = Box<dyn Error + Send + Sync>;

impl Launcher {
    /// The engine of a version.
    pub(crate) fn engine(&self, name: EngineName) -> Result<&Arc<dyn Engine>, Failure> {
        self.engines
            .get(&name)
            .ok_or_else(|| self.unknown(name).into())
    }

    /// Whether this server has such an engine; otherwise a sentence with those that it has.
    pub fn knows(&self, name: EngineName) -> Result<(), String> {
        match self.engines.contains_key(&name) {
            true => Ok(()),
            false => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, name: EngineName) -> String {
        let known: Vec<String> = self.engines.keys().map(EngineName::to_string).collect();
        format!(
            "The engine '{name}' is not built into this Warren; there is: {}. Choose one of them, or name no engine.",
            known.join(", ")
        )
    }

    /// What an instance with this much memory for its function counts as, in MB: all that its group may hold.
    pub(crate) fn instance_mb(&self, engine: EngineName, memory: Memory) -> u32 {
        let engine = self.engines.get(&engine);
        memory.get() + engine.map_or(0, |engine| engine.overhead_mb())
    }

    /// What a new function on this engine may reach that does not say.
    pub fn default_network(&self, name: EngineName) -> NetworkPolicy {
        self.engines
            .get(&name)
            .map_or(NetworkPolicy::None, |engine| engine.default_network())
    }

    /// What a configuration names and its function does not reach as things are, in sentences for the owner.
    pub async fn out_of_reach(&self, config: &Config) -> Vec<String> {
        match self.engines.get(&config.engine) {
            Some(engine) => engine.out_of_reach(config).await,
            None => Vec::new(),
        }
    }

    /// Why an engine can't be used at present, if so, with the next step. Really asks it.
    pub async fn unavailable(&self, name: EngineName) -> Option<String> {
        let engine = self.engines.get(&name)?;
        self.probes.ask(engine.as_ref()).await
    }

    /// Makes a version ready to be called on another engine than its own, or says why it can't be. Quick when it was done before.
    pub(crate) async fn elsewhere(
        &self,
        version: &Version,
        engine: EngineName,
    ) -> Result<(), Elsewhere> {
        let mut moved = version.clone();
        moved.config.engine = engine;
        self.admit_call(&moved.config).await?;
        let prepared = self.prepare(&moved).await;
        prepared.map_err(|error| InvokeError::Unavailable(error.message).into())
    }

    /// Whether something of this configuration can be run now, by what its engine said of itself lately.
    pub(crate) async fn admit_call(&self, config: &Config) -> Result<(), Refusal> {
        let engine = self.fits(config)?;
        match self.probes.recall(engine.as_ref()).await {
            Some(reason) => Err(refused("engine", reason)),
            None => Ok(()),
        }
    }

    /// The engine of a configuration, if this server and the engine could run it. Asks nobody.
    fn fits(&self, config: &Config) -> Result<&Arc<dyn Engine>, Refusal> {
        let asked = self.instance_mb(config.engine, config.memory);
        let all = self.memory_mb;
        if u64::from(asked) > all {
            let own = asked - config.memory.get();
            let of_it = match own {
                0 => String::new(),
                own => format!(" ({own} MB of it for the engine {} itself)", config.engine),
            };
            return Err(refused(
                "memory_mb",
                format!(
                    "an instance would need {asked} MB{of_it} and this server gives {all} MB to all instances together; choose less, or start the server with a larger --memory-mb"
                ),
            ));
        }
        let engine = self
            .engine(config.engine)
            .map_err(|error| refused("engine", error.to_string()))?;
        engine
            .admit(config)
            .map_err(|refusal| refused(refusal.field, refusal.message))?;
        Ok(engine)
    }

    /// The recipe that serves a version.
    pub(crate) fn recipe(&self, version: &Version) -> Result<Arc<Recipe>, Failure> {
        Ok(self.catalogue.resolve(&version.config.runtime)?.recipe)
    }

    /// Everything that the start of a function's own sandbox needs, made if it is not there.
    pub(crate) async fn spec(
        &self,
        version: &Version,
        instance: &InstanceId,
        refused: UnboundedSender<Refused>,
    ) -> Result<(SandboxSpec, Arc<Recipe>), Failure> {
        let config = &version.config;
        let ahead = self.stem_spec(
            &config.runtime,
            instance,
            config.ephemeral_storage,
            &config.network,
            refused,
        );
        let (spec, recipe) = ahead.await?;
        let spec = SandboxSpec {
            function: Some(version.function.to_string()),
            memory: config.memory,
            ..spec
        };
        Ok((spec, recipe))
    }

    /// The same for a sandbox that is started before its function is known, with the least memory that a function can have.
    pub(crate) async fn stem_spec(
        &self,
        runtime: &str,
        instance: &InstanceId,
        ephemeral_storage: EphemeralStorage,
        network: &NetworkPolicy,
        refused: UnboundedSender<Refused>,
    ) -> Result<(SandboxSpec, Arc<Recipe>), Failure> {
        let recipe = self.catalogue.resolve(runtime)?.recipe;
        let base = self.base_spec(&recipe, instance, ephemeral_storage, network, refused);
        Ok((base.await?, recipe))
    }

    /// What sandboxes of this recipe have in common, nobody's yet, with the least memory.
    pub(crate) async fn base_spec(
        &self,
        recipe: &Recipe,
        instance: &InstanceId,
        ephemeral_storage: EphemeralStorage,
        network: &NetworkPolicy,
        refused: UnboundedSender<Refused>,
    ) -> Result<SandboxSpec, Failure> {
        Ok(SandboxSpec {
            instance: instance.clone(),
            function: None,
            tree: self.tree(recipe).await?,
            agent: self.kit.agent(),
            runtime_folder: self.kit.runtime_folder(recipe),
            memory: Memory::default(),
            ephemeral_storage,
            network: network.clone(),
            refused,
            start_limit: START_LIMIT,
        })
    }

    /// What makes a sandbox a function's.
    pub(crate) async fn tenant(&self, version: &Version) -> Result<Tenant, Failure> {
        Ok(Tenant {
            function: version.function.to_string(),
            code: self.code(version).await?,
            memory: version.config.memory,
        })
    }

    /// Makes what starts of this configuration on this tree need and can share.
    pub(crate) async fn ready(&self, tree: &Tree, config: &Config) -> Result<(), Failure> {
        Ok(self.engine(config.engine)?.prepare(tree, config).await?)
    }

    pub(crate) async fn tree(&self, recipe: &Recipe) -> Result<Tree, Failure> {
        let show = |progress: Progress| {
            let text = progress.to_string();
            if self.builds.tell(progress) {
                tracing::info!("{text}");
            }
        };
        let tree = self.trees.ensure(recipe, show).await;
        self.builds.end(&recipe.id);
        Ok(tree?)
    }

    async fn code(&self, version: &Version) -> Result<CodeMount, Failure> {
        let digest = &version.code.digest;
        if self.unpacked.contains(digest) {
            return Ok(CodeMount(self.unpacked.path(digest)));
        }
        let zip = self.blobs.get(digest).await?;
        Ok(CodeMount(self.unpacked.unpack(digest, zip).await?))
    }
}

fn refused(field: &str, reason: String) -> Refusal {
    Refusal {
        field: field.to_owned(),
        reason,
    }
}

#[async_trait]
impl Prepare for Launcher {
    async fn admit(&self, config: &Config, force: bool) -> Result<(), Refusal> {
        self.fits(config)?;
        match self.unavailable(config.engine).await {
            Some(reason) if !force => Err(refused("engine", reason)),
            _ => Ok(()),
        }
    }

    async fn prepare(&self, version: &Version) -> Result<(), PrepareError> {
        let made: Result<(), Failure> = async {
            let recipe = self.recipe(version)?;
            let tree = self.tree(&recipe).await?;
            self.code(version).await?;
            let engine = version.config.engine;
            let Err(error) = self.ready(&tree, &version.config).await else {
                return Ok(());
            };
            // Deployed by force, or the engine went away since: each start prepares what it lacks, and until then calls are told the reason.
            match self.unavailable(engine).await {
                None => Err(error),
                Some(reason) => {
                    tracing::warn!(function = version.function.as_str(), %engine, reason, "prepared without its engine");
                    Ok(())
                }
            }
        }
        .await;
        made.map_err(|error| PrepareError {
            code: "InternalError".to_owned(),
            message: chain(error.as_ref()),
        })
    }
}
