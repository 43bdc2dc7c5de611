use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::{sync::mpsc, time::Instant};
use warren_engine::{CodeMount, EngineError, Refused, Sandbox, SandboxSpec, Tenant};
use warren_model::{InstanceId, chain};
use warren_package::{Limits, PackageError, Target, check_script};
use warren_registry::RegistryError;
use warren_runtimes::Recipe;

use super::{
    RunError, RunEvent, RunRequest,
    code::Code,
    delivery::Delivery,
    exchange::{Exchange, Streams},
    input::Input,
    program,
};
use crate::{
    booted::{OpenError, Opened, open},
    dispatch::Place,
    invoker::Context,
    launch::Launcher,
};

/// What labels of sandboxes say in place of a function's name.
const LABEL: &str = "warren-run";
/// How long a client may take for the rest of the output of a program that is over. Nothing but that output waits for it.
const REST: Duration = Duration::from_secs(120);

/// A run whose sandbox has started.
pub(super) struct Live {
    held: Held,
    sandbox: Arc<dyn Sandbox>,
    streams: Streams,
    recipe: Arc<Recipe>,
    refusals: mpsc::UnboundedReceiver<Refused>,
}

impl Live {
    /// Takes a run to where its program can start, unless the client is gone before there is room.
    pub(super) async fn begin(
        context: &Arc<Context>,
        request: &mut RunRequest,
        gone: impl Future<Output = ()>,
    ) -> Result<Self, RunError> {
        let launcher = &context.launcher;
        let recipe = prepare(launcher, request).await?;
        let config = &request.config;
        let placed = context
            .dispatch
            .place(context, config.engine, config.memory);
        let place = tokio::select! {
            biased;
            placed = placed => placed.map_err(RunError::NoRoom)?,
            () = gone => return Err(RunError::Abandoned),
        };
        // It is not kept in memory while the program runs.
        let zip = std::mem::take(&mut request.zip);
        let mut held = Held {
            sandbox: None,
            code: None,
            place,
        };
        let (refused, refusals) = mpsc::unbounded_channel();
        let started = held.start(launcher, request, &recipe, zip, refused);
        let started = AssertUnwindSafe(started).catch_unwind().await;
        let failed = || RunError::Failed("the start of a run panicked".to_owned());
        match started.unwrap_or_else(|_| Err(failed())) {
            Ok((sandbox, streams)) => {
                held.place.started();
                Ok(Self {
                    held,
                    sandbox,
                    streams,
                    recipe,
                    refusals,
                })
            }
            Err(error) => {
                // Nobody waits for that, however long it takes.
                tokio::spawn(async move { held.remove().await.failed() });
                Err(error)
            }
        }
    }

    /// Runs the program to its end, tells that, and removes everything. Who listens is not kept waiting for the removal, nor the removal for who listens.
    pub(super) async fn serve(
        self,
        request: &RunRequest,
        since: Instant,
        input: Input,
        events: mpsc::Sender<RunEvent>,
    ) {
        let start = since.elapsed();
        let Self {
            mut held,
            sandbox,
            streams,
            recipe,
            mut refusals,
        } = self;
        let claim = program::claim(&recipe, request);
        let delivery = Delivery::new(events, request.max_output);
        let exchange = Exchange {
            sandbox: sandbox.as_ref(),
            config: &request.config,
            delivery: &delivery,
        };
        let ended = exchange.run(streams, &claim, input, &mut refusals);
        let ended = AssertUnwindSafe(ended).catch_unwind().await;
        held.place.ended();
        let removed = tokio::spawn(async move { drop(held.remove().await) });
        let run = sandbox.id();
        match ended {
            Ok(mut ended) => {
                ended.cut |= !delivery.rest(REST).await;
                let end = ended.told(request, &recipe, start);
                tracing::debug!(%run, outcome = ?end.outcome, status = end.exit_status, "a run ended");
                delivery.end(end).await;
            }
            // That there is no end tells its client.
            Err(_) => tracing::error!(%run, "the task of a run panicked"),
        }
        drop(delivery);
        if let Err(panic) = removed.await {
            tracing::error!(%run, error = chain(&panic), "the removal of a run panicked");
        }
    }

    /// Ends it before its program has begun.
    pub(super) async fn remove(self) {
        drop(self.held.remove().await);
    }
}

/// What a run has on the host.
struct Held {
    sandbox: Option<crate::held::Held>,
    code: Option<Code>,
    place: Place,
}

impl Held {
    /// Starts a sandbox with the code in it. What there is on an error is held as well.
    async fn start(
        &mut self,
        launcher: &Launcher,
        request: &RunRequest,
        recipe: &Recipe,
        zip: Bytes,
        refused: mpsc::UnboundedSender<Refused>,
    ) -> Result<(Arc<dyn Sandbox>, Streams), RunError> {
        let config = &request.config;
        let id = InstanceId::random();
        let unpacked = Code::unpack(&launcher.run_code, &id, zip).await;
        let unpacked = unpacked.map_err(|error| RunError::failed(&error))?;
        let code = CodeMount(unpacked.path());
        self.code = Some(unpacked);
        let base = launcher.base_spec(
            recipe,
            &id,
            config.ephemeral_storage,
            &config.network,
            refused,
        );
        let base = base.await;
        let spec = SandboxSpec {
            function: Some(LABEL.to_owned()),
            runtime_folder: None,
            memory: config.memory,
            ..base.map_err(|error| RunError::failed(error.as_ref()))?
        };
        let engine = launcher.engine(config.engine);
        let engine = engine.map_err(|error| RunError::failed(error.as_ref()))?;
        let failed = |error: EngineError| RunError::failed(&error);
        let opened = open(engine.as_ref(), spec).await;
        let Opened {
            sandbox,
            control,
            call,
        } = opened.map_err(|OpenError { error, left }| {
            self.sandbox = left;
            failed(error)
        })?;
        let shared = Arc::clone(&sandbox);
        self.sandbox = Some(sandbox);
        let sandbox = shared;
        let tenant = Tenant {
            function: LABEL.to_owned(),
            code,
            memory: config.memory,
        };
        sandbox.claim(&tenant).await.map_err(failed)?;
        Ok((sandbox, Streams { control, call }))
    }

    /// Removes the sandbox, then the code, which it shows. The room, which both take, is the caller's to give back.
    async fn remove(self) -> Place {
        if let Some(sandbox) = self.sandbox {
            sandbox.remove().await;
        }
        if let Some(code) = self.code {
            code.remove().await;
        }
        self.place
    }
}

/// All that can be made before there is room: it may take minutes where a language's tree is built.
async fn prepare(launcher: &Launcher, request: &RunRequest) -> Result<Arc<Recipe>, RunError> {
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
    let admitted = launcher.admit_call(config).await;
    admitted.map_err(RegistryError::Refused)?;
    // Not a function's: a script of `provided` needs no `bootstrap`.
    let family = match recipe.family.as_str() {
        "provided" => "",
        family => family,
    };
    let target = Target::here(family, &config.runtime, &recipe.id);
    let (zip, entry) = (request.zip.clone(), request.entry.clone());
    let checked = check_script(zip, Limits::default(), target, entry).await;
    checked.map_err(|fault| match fault {
        PackageError::NoEntry { .. } => RunError::field("entry", fault.to_string()),
        fault => RegistryError::Package(fault).into(),
    })?;
    let ready = async { launcher.ready(&launcher.tree(&recipe).await?, config).await };
    let ready = ready.await;
    ready.map_err(|error| RunError::failed(error.as_ref()))?;
    Ok(recipe)
}
