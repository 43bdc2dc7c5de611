//! From nothing to a runtime that takes calls.

use std::{sync::Arc, time::SystemTime};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout, timeout_at},
};
use warren_engine::{EngineError, Refused, Sandbox};
use warren_model::{InstanceId, NetworkPolicy, Timestamp, Wait, chain, limits::INIT_LIMIT};
use warren_protocol::{Claim, Interface, StreamKind};
use warren_runtimes::{Interface as RecipeInterface, RUNTIME_GID, RUNTIME_UID, Recipe};
use warren_telemetry::report::InitPhase;

use super::{Instance, LOOK, OUTPUT_NEWS, ended, ending::Ending, gauge::Gauge, opening::Opening};
use crate::{
    call_channel::{CallChannel, ChannelError},
    control::{Control, Life},
    dispatch::Pool,
    environment::environment,
    invoker::Context,
    recorder::Recorder,
};

/// Open files of a runtime, as on Lambda (quota page).
const OPEN_FILES: u64 = 1024;

/// Writes what the network refused into the log, until some seconds after the sandbox is gone.
async fn tell(
    recorder: Arc<Recorder>,
    policy: NetworkPolicy,
    mut refusals: mpsc::UnboundedReceiver<Refused>,
) {
    while let Some(refused) = refusals.recv().await {
        recorder.refused(refused.explain(&policy));
    }
}

impl Instance {
    /// Starts the sandbox and runs Init. `Err` only where the platform failed.
    pub(super) async fn start(
        context: &Arc<Context>,
        pool: &Arc<Pool>,
        id: &InstanceId,
    ) -> Result<Self, String> {
        let begun = Instant::now();
        let version = &pool.version;
        let launcher = &context.launcher;
        let text = |error: Box<dyn std::error::Error + Send + Sync>| chain(error.as_ref());
        let engine = launcher.engine(version.config.engine).map_err(text)?;
        let (refused, refusals) = mpsc::unbounded_channel();
        let made = launcher.spec(version, id, refused);
        let (spec, recipe) = made.await.map_err(text)?;
        let sandbox = engine.start(spec).await.map_err(|e| chain(&e))?;
        match Self::connect(context, pool, Arc::clone(&sandbox), &recipe, refusals).await {
            Ok(mut instance) => {
                let there = Instant::now();
                instance.first_init().await;
                instance.opening = Some(Opening {
                    kind: Wait::Start,
                    begun,
                    there,
                    ready: Instant::now(),
                });
                Ok(instance)
            }
            Err(error) => {
                if let Err(left) = sandbox.kill().await {
                    tracing::error!(instance = %id, error = chain(&left), "a failed start could not be removed");
                }
                Err(chain(&error))
            }
        }
    }

    async fn connect(
        context: &Arc<Context>,
        pool: &Arc<Pool>,
        sandbox: Arc<dyn Sandbox>,
        recipe: &Recipe,
        refusals: mpsc::UnboundedReceiver<Refused>,
    ) -> Result<Self, EngineError> {
        let version = &pool.version;
        let log_stream = format!(
            "{}/[{}]{}",
            Timestamp::from(SystemTime::now()).log_date(),
            version.id,
            sandbox.id()
        );
        let claim = Claim {
            command: recipe.command.clone(),
            interface: match recipe.interface {
                RecipeInterface::Stream => Interface::Stream,
                RecipeInterface::RuntimeApi => Interface::RuntimeApi,
            },
            environment: environment(version, recipe, &context.account, &log_stream),
            directory: "/var/task".to_owned(),
            uid: RUNTIME_UID,
            gid: RUNTIME_GID,
            open_files: OPEN_FILES,
            processes: None,
        };
        let control = sandbox.open(StreamKind::Control).await?;
        let channel = CallChannel::new(sandbox.open(StreamKind::Call).await?, &context.busy_poll);
        sandbox.seal()?;
        let recorder = Arc::new(Recorder::new(context.logs.clone(), version, log_stream));
        tokio::spawn(tell(
            Arc::clone(&recorder),
            version.config.network.clone(),
            refusals,
        ));
        let control = Control::new(control, Arc::clone(&recorder));
        let source = context.records.source(version, sandbox.id());
        Ok(Self {
            pool: Arc::clone(pool),
            busy_poll: context.busy_poll.clone(),
            life: control.life(),
            sandbox,
            control,
            channel,
            recorder,
            claim,
            records: context.records.clone(),
            source,
            opening: None,
            gauge: Gauge::default(),
            ready: false,
            init: None,
            init_again: None,
            calls: 0,
            running: None,
            look: Box::pin(sleep(LOOK)),
        })
    }

    /// Init before any call: 10 s. A failure is logged and tried again inside the first call.
    async fn first_init(&mut self) {
        let begin = Instant::now();
        match self.init(begin + INIT_LIMIT).await {
            Ok(()) => {
                self.ready = true;
                self.init = Some(begin.elapsed());
            }
            Err(ending) => {
                self.recorder
                    .init_failed(InitPhase::Init, begin.elapsed(), ending.status());
            }
        }
    }

    /// Claims, and waits until the runtime is ready.
    async fn init(&mut self, deadline: Instant) -> Result<(), Ending> {
        self.gauge.begin();
        self.recorder.runtime_begins();
        self.control.claim(&self.claim);
        let mut life = self.life.clone();
        let outcome = tokio::select! {
            biased;
            ready = timeout_at(deadline, self.channel.ready()) => ready,
            // The runtime may have said why just before it ended.
            () = ended(&mut life) => {
                timeout(OUTPUT_NEWS, self.channel.ready()).await.or(Ok(Err(ChannelError::Closed)))
            }
        };
        match outcome {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => {
                self.end_runtime().await;
                Err(Ending::InitError(error))
            }
            Ok(Err(error)) => {
                let life = self.end_runtime().await;
                Err(Ending::of_channel(error, life, self.oom_killed()))
            }
            Err(_) => {
                self.end_runtime().await;
                Err(Ending::Deadline)
            }
        }
    }

    /// Init once more, inside a call and its deadline, on a new call stream.
    pub(super) async fn init_again(&mut self, deadline: Instant) -> Result<(), Ending> {
        let begin = Instant::now();
        let outcome = timeout_at(deadline, self.restart(deadline))
            .await
            .unwrap_or(Err(Ending::Deadline));
        match &outcome {
            Ok(()) => self.ready = true,
            Err(ending) => {
                self.recorder
                    .init_failed(InitPhase::Invoke, begin.elapsed(), ending.status());
            }
        }
        outcome
    }

    async fn restart(&mut self, deadline: Instant) -> Result<(), Ending> {
        self.end_runtime().await;
        match self.sandbox.open(StreamKind::Call).await {
            Ok(stream) => self.channel = CallChannel::new(stream, &self.busy_poll),
            Err(error) => {
                tracing::warn!(instance = %self.sandbox.id(), error = chain(&error), "no new call stream");
                return Err(Ending::Exited(Life::Gone, self.oom_killed()));
            }
        }
        self.init(deadline).await
    }
}
