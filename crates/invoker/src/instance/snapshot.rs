//! An instance that is written to an image when its Init is over, and instances that are restored from it.
//!
//! ```text
//!   template:  start ─► claim ─► Init, READY ─► SUSPEND, all streams end ─► image ─► removed
//!   copy:      restore ─► streams ─► INIT (what differs) ─► hooks, READY ─► calls
//! ```

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use warren_model::{InstanceId, Wait, chain, limits::INIT_LIMIT};
use warren_protocol::{Init, Interface};

use super::{Instance, ended, opening::Opening};
use crate::{
    InvokeError,
    booted::Booted,
    checkpoints::Image,
    control::Life,
    dispatch::Pool,
    environment::{after_restore, for_snapshot},
    invoker::Context,
};

/// How long an agent may take to let its streams go.
const SUSPEND_LIMIT: Duration = Duration::from_secs(5);
/// What an image has beside the function's memory: the sandbox's kernel, some MB.
const KERNEL_BYTES: u64 = 32 << 20;

/// Why there is no checkpoint.
pub(super) enum NoImage {
    /// There will be none; why, for the owner.
    Never(String),
    /// There is no room now.
    NotNow(String),
}

impl NoImage {
    fn never(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Never(chain(error))
    }
}

impl Instance {
    /// Restores one. An error names what failed; nothing is left of it then.
    pub(super) async fn restored(
        context: &Arc<Context>,
        pool: &Arc<Pool>,
        image: &Image,
    ) -> Result<Self, String> {
        let begun = Instant::now();
        let version = &pool.version;
        let launcher = &context.launcher;
        let text = |error: Box<dyn std::error::Error + Send + Sync>| chain(error.as_ref());
        let engine = launcher.engine(version.config.engine).map_err(text)?;
        let tenant = launcher.tenant(version).await.map_err(text)?;
        let (refused, refusals) = mpsc::unbounded_channel();
        let id = InstanceId::random();
        let made = launcher.spec(version, &id, refused);
        let (spec, recipe) = made.await.map_err(text)?;
        let booted = Booted::restore(
            engine.as_ref(),
            spec,
            &tenant,
            image.folder(),
            refusals,
            &context.busy_poll,
        );
        let booted = booted.await.map_err(|error| chain(&error))?;
        let mut instance = Self::of(context, pool, booted, &recipe);
        let there = Instant::now();
        instance.gauge.claimed(instance.sandbox.as_ref());
        instance.recorder.runtime_goes_on(image.mark);
        if let Err(why) = instance.resumed(there + INIT_LIMIT).await {
            instance.sandbox.remove().await;
            return Err(why);
        }
        instance.ready = true;
        instance.opening = Some(Opening {
            kind: Wait::Restore,
            begun,
            there,
            ready: Instant::now(),
        });
        Ok(instance)
    }

    /// Tells the runtime what differs in this copy, and waits until its hooks have run.
    async fn resumed(&mut self, deadline: Instant) -> Result<(), String> {
        let mut environment = self.claim.environment.clone();
        after_restore(&mut environment);
        let init = Init {
            environment,
            directory: self.claim.directory.clone(),
        };
        let stream = self.claim.interface == Interface::Stream;
        let mut life = self.life.clone();
        let resumed = async {
            if stream {
                self.channel.restored();
                self.channel.init(&init).await?;
            }
            self.channel.ready().await
        };
        let resumed = tokio::select! {
            biased;
            resumed = timeout_at(deadline, resumed) => resumed,
            () = ended(&mut life) => return Err("the runtime ended".to_owned()),
        };
        match resumed {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(String::from_utf8_lossy(&error).into_owned()),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err(format!("it took longer than {INIT_LIMIT:?}")),
        }
    }

    /// Makes an image of an instance of its own, within the bounds for calls.
    pub(super) async fn checkpoint(
        context: &Arc<Context>,
        pool: &Arc<Pool>,
    ) -> Result<Image, NoImage> {
        let config = &pool.version.config;
        if !context
            .launcher
            .engine(config.engine)
            .is_ok_and(|engine| engine.restores())
        {
            let engine = config.engine;
            return Err(NoImage::Never(format!(
                "the engine {engine} takes no checkpoints"
            )));
        }
        let _one = context.checkpoints.making.acquire().await;
        let id = InstanceId::random();
        let bytes = config.memory.bytes() + KERNEL_BYTES;
        let mut image = match context.checkpoints.reserve(id.as_str(), bytes) {
            Some(Ok(image)) => image,
            Some(Err(error)) => return Err(NoImage::never(&error)),
            None => {
                return Err(NoImage::NotNow(
                    "images already take all of --checkpoint-disk-mb".to_owned(),
                ));
            }
        };
        let placed = context
            .dispatch
            .place(context, config.engine, config.memory);
        let mut place = match placed.await {
            Ok(place) => place,
            Err(error @ InvokeError::Stopping) => return Err(NoImage::Never(error.to_string())),
            Err(error) => return Err(NoImage::NotNow(error.to_string())),
        };
        let mut template = match Self::template(context, pool, id).await {
            Ok(template) => template,
            Err(why) => {
                place.failed();
                return Err(NoImage::Never(why));
            }
        };
        place.started();
        let written = template.write(&image).await;
        place.ended();
        image.mark = template.recorder.mark();
        template.sandbox.remove().await;
        written?;
        image.settle().map_err(|error| NoImage::never(&error))?;
        Ok(image)
    }

    /// A sandbox that is the function's, and runs nothing yet.
    async fn template(
        context: &Arc<Context>,
        pool: &Arc<Pool>,
        id: InstanceId,
    ) -> Result<Self, String> {
        let launcher = &context.launcher;
        let version = &pool.version;
        let text = |error: Box<dyn std::error::Error + Send + Sync>| chain(error.as_ref());
        let engine = launcher.engine(version.config.engine).map_err(text)?;
        let tenant = launcher.tenant(version).await.map_err(text)?;
        let (refused, refusals) = mpsc::unbounded_channel();
        let made = launcher.spec(version, &id, refused);
        let (spec, recipe) = made.await.map_err(text)?;
        let started = Booted::start(engine.as_ref(), spec, refusals, &context.busy_poll);
        let booted = started.await.map_err(|error| chain(&error))?;
        let claimed = Self::claimed(context, pool, booted, &tenant, &recipe).await;
        let mut template = claimed.map_err(|error| chain(&error))?;
        template.claim.snapshot = true;
        for_snapshot(&mut template.claim.environment, &recipe);
        Ok(template)
    }

    /// Runs Init and writes the image.
    async fn write(&mut self, image: &Image) -> Result<(), NoImage> {
        if let Err(ending) = self.init(Instant::now() + INIT_LIMIT).await {
            return Err(NoImage::Never(ending.explain()));
        }
        self.control.suspend();
        let let_go = async {
            // By the call stream's end nothing of the runtime's leads out, by the control stream's nothing of the agent's.
            self.channel.closed().await;
            let gone = |life: &Life| matches!(life, Life::Gone | Life::Broken(_));
            let _ = self.life.wait_for(gone).await;
        };
        if timeout(SUSPEND_LIMIT, let_go).await.is_err() {
            return Err(NoImage::Never(
                "the runtime did not let its streams go".to_owned(),
            ));
        }
        let written = self.sandbox.checkpoint(image.folder()).await;
        written.map_err(|error| NoImage::never(&error))
    }
}
