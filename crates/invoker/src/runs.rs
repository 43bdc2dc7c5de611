//! One-shot runs: a program in a fresh sandbox, once, with its input and output as streams. No function is made and nothing is kept.
//!
//! ```text
//!   request ─► code checked, tree and engine ready ─► place ─► code unpacked, sandbox started ─► program ─► end
//!                        refused ◄─────────────────────┴────────────┘                                        └─► sandbox, code, place given back
//! ```
//! The way from `begin` on is a task of its own. It ends early when nobody listens to its events any more.

mod code;
mod control;
mod exchange;
mod outcome;
mod program;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use warren_engine::{CodeMount, Refused, Sandbox, SandboxSpec, Tenant};
use warren_model::{Config, InstanceId, chain, native::RunEnd};
use warren_package::{Limits, Target, check};
use warren_registry::{Prepare, Refusal, RegistryError};
use warren_runtimes::{Recipe, Tree};

use self::{code::Code, exchange::Exchange};
use crate::{
    InvokeError, Invoker,
    dispatch::Place,
    invoker::Context,
    launch::{Launcher, START_LIMIT},
};

/// Events that wait for the client, of 64 KiB at most each; the program waits when they are as many.
const EVENTS: usize = 8;
/// What labels of sandboxes say in place of a function's name.
const LABEL: &str = "warren-run";

/// A program to run.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// Runtime, engine, limits and network. Its variables are those of `environment`, not its own.
    pub config: Config,
    /// The code.
    pub zip: Bytes,
    /// The file in it that is run.
    pub entry: String,
    /// Arguments of the program.
    pub args: Vec<String>,
    /// Variables of the program, besides those of its runtime.
    pub environment: BTreeMap<String, String>,
    /// Most output, both streams together, in bytes.
    pub max_output: u64,
}

/// A piece of the program's input; the end of the pieces is the end of the input.
#[derive(Debug)]
pub enum InputPiece {
    /// Bytes.
    Bytes(Bytes),
    /// The client is gone before its input was complete: the run ends.
    Broken,
}

/// What happens in a run.
#[derive(Debug)]
pub enum RunEvent {
    /// Bytes of the standard output.
    Stdout(Bytes),
    /// Bytes of the standard error.
    Stderr(Bytes),
    /// The end, after which nothing comes.
    End(RunEnd),
}

/// A run whose sandbox has started.
#[derive(Debug)]
pub struct Run {
    /// What happens. Dropping it ends the run. The program waits for a reader who is slow.
    pub events: mpsc::Receiver<RunEvent>,
}

/// Why a run did not begin.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The request is not in order, or can't be served here.
    #[error(transparent)]
    Refused(#[from] RegistryError),
    /// There is no room.
    #[error(transparent)]
    NoRoom(InvokeError),
    /// The platform failed. The message is for the owner of the server.
    #[error("{0}")]
    Failed(String),
}

impl RunError {
    fn field(field: &str, reason: impl Into<String>) -> Self {
        Self::Refused(RegistryError::Refused(Refusal {
            field: field.to_owned(),
            reason: reason.into(),
        }))
    }

    fn failed(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Failed(chain(error))
    }
}

impl Invoker {
    /// Begins a run and answers when its sandbox has started; the program's input comes by `input`. The run ends by itself, or when [`Run`] is dropped,
    /// also while it is yet to begin.
    pub async fn run(
        &self,
        mut request: RunRequest,
        input: mpsc::Receiver<InputPiece>,
    ) -> Result<Run, RunError> {
        let context = Arc::clone(&self.context);
        let (begun, answer) = oneshot::channel();
        tokio::spawn(async move {
            let since = Instant::now();
            match Live::begin(&context, &mut request).await {
                Err(error) => {
                    // Who gave up waiting needs no answer.
                    let _ = begun.send(Err(error));
                }
                Ok(live) => {
                    let (events, receiver) = mpsc::channel(EVENTS);
                    if begun.send(Ok(Run { events: receiver })).is_err() {
                        live.remove().await;
                        return;
                    }
                    live.serve(&request, since, input, events).await;
                }
            }
        });
        answer
            .await
            .unwrap_or_else(|_| Err(RunError::Failed("the task of a run panicked".to_owned())))
    }
}

/// A run that holds a sandbox.
struct Live {
    sandbox: Arc<dyn Sandbox>,
    code: Code,
    place: Place,
    recipe: Arc<Recipe>,
    refusals: mpsc::UnboundedReceiver<Refused>,
}

impl Live {
    async fn begin(context: &Arc<Context>, request: &mut RunRequest) -> Result<Self, RunError> {
        let launcher = &context.launcher;
        let (recipe, tree) = prepare(launcher, request).await?;
        let config = &request.config;
        let placed = context
            .dispatch
            .place(context, config.engine, config.memory);
        let mut place = placed.await.map_err(RunError::NoRoom)?;
        let id = InstanceId::random();
        // It is not kept in memory while the program runs.
        let zip = std::mem::take(&mut request.zip);
        let code = match Code::unpack(&launcher.run_code, &id, zip).await {
            Ok(code) => code,
            Err(error) => {
                place.failed();
                return Err(RunError::failed(&error));
            }
        };
        let (refused, refusals) = mpsc::unbounded_channel();
        let started = async {
            if !code.path().join(&request.entry).is_file() {
                let entry = &request.entry;
                return Err(RunError::field(
                    "entry",
                    format!("The code has no file '{entry}'. Name one that it has."),
                ));
            }
            let spec = SandboxSpec {
                instance: id.clone(),
                function: Some(LABEL.to_owned()),
                tree,
                agent: launcher.kit.agent(),
                runtime_folder: None,
                memory: config.memory,
                ephemeral_storage: config.ephemeral_storage,
                network: config.network.clone(),
                refused,
                start_limit: START_LIMIT,
            };
            let engine = launcher.engine(config.engine);
            let engine = engine.map_err(|error| RunError::failed(error.as_ref()))?;
            let failed = |error| RunError::failed(&error);
            let sandbox = engine.start(spec).await.map_err(failed)?;
            let tenant = Tenant {
                function: LABEL.to_owned(),
                code: CodeMount(code.path()),
                memory: config.memory,
            };
            if let Err(error) = sandbox.claim(&tenant).await {
                crate::instance::remove(sandbox.as_ref()).await;
                return Err(failed(error));
            }
            Ok(sandbox)
        };
        match started.await {
            Ok(sandbox) => {
                place.started();
                Ok(Self {
                    sandbox,
                    code,
                    place,
                    recipe,
                    refusals,
                })
            }
            Err(error) => {
                code.remove().await;
                place.failed();
                Err(error)
            }
        }
    }

    /// Runs the program to its end, tells that, and removes everything. Who listens is not kept waiting for the removal.
    async fn serve(
        mut self,
        request: &RunRequest,
        since: Instant,
        input: mpsc::Receiver<InputPiece>,
        events: mpsc::Sender<RunEvent>,
    ) {
        let start = since.elapsed();
        let claim = program::claim(&self.recipe, request);
        let exchange = Exchange {
            sandbox: Arc::clone(&self.sandbox),
            config: &request.config,
            max_output: request.max_output,
            events: &events,
        };
        let ended = exchange.run(claim, input, &mut self.refusals).await;
        self.place.ended();
        let end = ended.told(request, &self.recipe, start);
        tracing::debug!(run = %self.sandbox.id(), outcome = ?end.outcome, status = end.exit_status, "a run ended");
        let removed = tokio::spawn(self.remove());
        // Whoever went away needs no answer.
        let _ = events.send(RunEvent::End(end)).await;
        drop(events);
        if let Err(panic) = removed.await {
            tracing::error!(error = chain(&panic), "the removal of a run panicked");
        }
    }

    /// The sandbox first, which shows the code; the place last, as both take room.
    async fn remove(self) {
        crate::instance::remove(self.sandbox.as_ref()).await;
        self.code.remove().await;
        drop(self.place);
    }
}

/// All that can be made before there is room: it may take minutes where a language's tree is built.
async fn prepare(
    launcher: &Arc<Launcher>,
    request: &RunRequest,
) -> Result<(Arc<Recipe>, Tree), RunError> {
    let config = &request.config;
    let recipe = launcher.catalogue.resolve(&config.runtime);
    let recipe = recipe.map_err(RegistryError::Runtime)?.recipe;
    if recipe.script.is_none() {
        return Err(RunError::field(
            "runtime",
            format!(
                "The runtime '{}' does not say how it runs a script: its recipe needs a table [script] with 'command' and 'endings'.",
                recipe.id
            ),
        ));
    }
    let admitted = launcher.admit(config, false).await;
    admitted.map_err(RegistryError::Refused)?;
    // Not a function's: a script of `provided` needs no `bootstrap`.
    let family = match recipe.family.as_str() {
        "provided" => "",
        family => family,
    };
    let target = Target::here(family, &config.runtime, &recipe.id);
    let checked = check(request.zip.clone(), Limits::default(), target).await;
    checked.map_err(RegistryError::Package)?;
    let tree = launcher.tree(&recipe).await;
    let tree = tree.map_err(|error| RunError::failed(error.as_ref()))?;
    let engine = launcher.engine(config.engine);
    let engine = engine.map_err(|error| RunError::failed(error.as_ref()))?;
    let prepared = engine.prepare(&tree, config).await;
    prepared.map_err(|error| RunError::failed(&error))?;
    Ok((recipe, tree))
}
