//! From nothing to a runtime that takes calls.

use std::{sync::Arc, time::SystemTime};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout, timeout_at},
};
use warren_engine::{EngineError, Refused, Tenant};
use warren_model::{InstanceId, NetworkPolicy, Timestamp, Wait, chain, limits::INIT_LIMIT};
use warren_protocol::{Init, StreamKind};
use warren_runtimes::Recipe;
use warren_scheduler::Origin;
use warren_telemetry::report::InitPhase;

use super::{
    Instance, LOOK, OUTPUT_NEWS, ended, ending::Ending, opening::Opening, snapshot::NoImage,
};
use crate::{
    booted::Booted,
    call_channel::{CallChannel, ChannelError},
    claim::claim,
    control::{Control, Life},
    dispatch::Pool,
    environment::{acts_at_exec, environment},
    gauge::Gauge,
    invoker::Context,
    recorder::Recorder,
};

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

/// Makes the image that later instances are restored from.
async fn make_checkpoint(context: Arc<Context>, pool: Arc<Pool>) {
    let function = pool.version.function.as_str();
    match Instance::checkpoint(&context, &pool).await {
        Ok(image) => {
            tracing::info!(
                function,
                "a checkpoint was made: instances are restored from now on"
            );
            pool.checkpoint.made(image);
        }
        Err(NoImage::Never(why)) => {
            tracing::warn!(
                function,
                why,
                "there is no checkpoint of a function: its instances are started"
            );
            pool.checkpoint.give_up(why);
        }
        Err(NoImage::NotNow(why)) => {
            tracing::info!(function, why, "there is no room for a checkpoint now");
            pool.checkpoint.put_off();
        }
    }
}

impl Instance {
    /// Restores the sandbox, or starts it and runs Init. `Err` only where the platform failed.
    pub(super) async fn start(context: &Arc<Context>, pool: &Arc<Pool>) -> Result<Self, String> {
        let begun = Instant::now();
        if let Some(image) = pool.checkpoint.image() {
            match Self::restored(context, pool, &image).await {
                Ok(instance) => {
                    pool.checkpoint.opened(Origin::Restored, begun.elapsed());
                    return Ok(instance);
                }
                Err(why) => {
                    tracing::warn!(
                        function = pool.version.function.as_str(),
                        why,
                        "an instance could not be restored; it is started"
                    );
                    pool.checkpoint.failed(&why);
                }
            }
        }
        let instance = Self::started(context, pool).await?;
        if let (true, Some(init)) = (pool.version.config.snap_start, instance.init)
            && pool
                .checkpoint
                .opened(Origin::Started { init }, begun.elapsed())
        {
            tokio::spawn(make_checkpoint(Arc::clone(context), Arc::clone(pool)));
        }
        Ok(instance)
    }

    /// Starts a sandbox, or claims one that was started ahead, and runs Init.
    async fn started(context: &Arc<Context>, pool: &Arc<Pool>) -> Result<Self, String> {
        let begun = Instant::now();
        let version = &pool.version;
        let launcher = &context.launcher;
        let text = |error: Box<dyn std::error::Error + Send + Sync>| chain(error.as_ref());
        let engine = launcher.engine(version.config.engine).map_err(text)?;
        let tenant = launcher.tenant(version).await.map_err(text)?;
        if let Some(stem) = context.stems.take(launcher, &version.config) {
            let recipe = launcher.recipe(version).map_err(text)?;
            match Self::claimed(context, pool, stem, &tenant, &recipe).await {
                Ok(instance) => return Ok(instance.opened(Wait::Claim, begun).await),
                Err(error) => {
                    tracing::warn!(
                        error = chain(&error),
                        "a sandbox that was started ahead could not be claimed"
                    );
                }
            }
        }
        let (refused, refusals) = mpsc::unbounded_channel();
        let id = InstanceId::random();
        let made = launcher.spec(version, &id, refused);
        let (spec, recipe) = made.await.map_err(text)?;
        let booted = Booted::start(engine.as_ref(), spec, refusals, &context.busy_poll);
        let booted = booted.await.map_err(|error| chain(&error))?;
        let claimed = Self::claimed(context, pool, booted, &tenant, &recipe).await;
        let instance = claimed.map_err(|error| chain(&error))?;
        Ok(instance.opened(Wait::Start, begun).await)
    }

    /// Runs Init in a sandbox that has become the function's.
    async fn opened(mut self, kind: Wait, begun: Instant) -> Self {
        if kind == Wait::Claim {
            self.gauge.claimed(self.sandbox.as_ref());
        }
        let there = Instant::now();
        self.first_init().await;
        self.opening = Some(Opening {
            kind,
            begun,
            there,
            ready: Instant::now(),
        });
        self
    }

    /// Makes a sandbox the function's; on an error it is removed, in the background if that takes long.
    pub(super) async fn claimed(
        context: &Arc<Context>,
        pool: &Arc<Pool>,
        booted: Booted,
        tenant: &Tenant,
        recipe: &Recipe,
    ) -> Result<Self, EngineError> {
        if let Err(error) = booted.sandbox.claim(tenant).await {
            booted.sandbox.remove_soon().await;
            return Err(error);
        }
        Ok(Self::of(context, pool, booted, recipe))
    }

    pub(super) fn of(
        context: &Arc<Context>,
        pool: &Arc<Pool>,
        booted: Booted,
        recipe: &Recipe,
    ) -> Self {
        let version = &pool.version;
        let Booted {
            sandbox,
            control,
            channel,
            refusals,
            standby,
        } = booted;
        let log_stream = format!(
            "{}/[{}]{}",
            Timestamp::from(SystemTime::now()).log_date(),
            version.id,
            sandbox.id()
        );
        let environment = environment(version, recipe, &context.account, &log_stream);
        let claim = claim(recipe, environment);
        let recorder = Arc::new(Recorder::new(context.logs.clone(), version, log_stream));
        tokio::spawn(tell(
            Arc::clone(&recorder),
            version.config.network.clone(),
            refusals,
        ));
        let control = Control::new(control, Arc::clone(&recorder));
        let source = context.records.source(version, sandbox.id());
        Self {
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
            standby,
            ready: false,
            init: None,
            init_again: None,
            calls: 0,
            running: None,
            look: Box::pin(sleep(LOOK)),
        }
    }

    /// Init before any call: 10 s. A failure is logged and tried again inside the first call.
    async fn first_init(&mut self) {
        let begin = Instant::now();
        let deadline = begin + INIT_LIMIT;
        let outcome = match self.standby && acts_at_exec(&self.pool.version) {
            // The runtime that waits was started without the owner's variables.
            true => self.restart(deadline).await,
            false => self.init(deadline).await,
        };
        match outcome {
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
    pub(super) async fn init(&mut self, deadline: Instant) -> Result<(), Ending> {
        self.gauge.begin();
        self.recorder.runtime_begins();
        let told = match std::mem::take(&mut self.standby) {
            true => Some(Init {
                environment: self.claim.environment.clone(),
                directory: self.claim.directory.clone(),
            }),
            false => {
                self.control.claim(&self.claim);
                None
            }
        };
        let mut life = self.life.clone();
        let outcome = tokio::select! {
            biased;
            ready = timeout_at(deadline, async {
                if let Some(init) = &told {
                    self.channel.init(init).await?;
                }
                self.channel.ready().await
            }) => ready,
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
        self.standby = false;
        match timeout_at(deadline, self.sandbox.open(StreamKind::Call)).await {
            Ok(Ok(stream)) => self.channel = CallChannel::new(stream, &self.busy_poll),
            Err(_) => return Err(Ending::Deadline),
            Ok(Err(error)) => {
                tracing::warn!(instance = %self.sandbox.id(), error = chain(&error), "no new call stream");
                return Err(Ending::Exited(Life::Gone, self.oom_killed()));
            }
        }
        self.init(deadline).await
    }
}
