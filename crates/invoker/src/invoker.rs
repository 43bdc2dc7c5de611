use std::{sync::Arc, time::Duration};

use tokio::{sync::oneshot, task::JoinHandle, time::Instant};
use warren_model::{Account, EngineName, Version};
use warren_registry::Registry;
use warren_scheduler::{Scheduler, Settings};
use warren_telemetry::{FunctionLogs, Records};

use crate::{
    BusyPoll, Completed, Elsewhere, Invocation, InvokeError, Launcher, Unserved, arrival::Arrival,
    checkpoints::Checkpoints, dispatch::Dispatch, stems::Stems,
};

/// What an invoker is made of.
pub struct Parts {
    /// Functions.
    pub registry: Registry,
    /// Makes versions startable.
    pub launcher: Arc<Launcher>,
    /// Where log lines go.
    pub logs: FunctionLogs,
    /// Where the records of calls go.
    pub records: Records,
    /// Limits of account and host.
    pub settings: Settings,
    /// How sockets wait for short calls.
    pub busy_poll: BusyPoll,
    /// An instance that was idle for this long is asked whether it lives before it gets a call: one that is frozen would keep it until its timeout.
    pub ping_after: Duration,
    /// An instance that was idle for this long is frozen until its next call; never if zero.
    pub freeze_after: Duration,
    /// Bytes that sandboxes started ahead may hold together; none are if zero.
    pub stem_memory: u64,
    /// Where images of initialised instances are kept.
    pub checkpoints: Checkpoints,
}

/// What every instance's task needs.
pub(crate) struct Context {
    pub(crate) dispatch: Dispatch,
    pub(crate) registry: Registry,
    pub(crate) launcher: Arc<Launcher>,
    pub(crate) logs: FunctionLogs,
    pub(crate) records: Records,
    pub(crate) account: Account,
    pub(crate) busy_poll: BusyPoll,
    pub(crate) ping_after: Duration,
    pub(crate) freeze_after: Duration,
    pub(crate) stems: Stems,
    pub(crate) checkpoints: Checkpoints,
}

/// The data plane's handle; clones are the same invoker.
#[derive(Clone)]
pub struct Invoker {
    pub(crate) context: Arc<Context>,
    tasks: Arc<Vec<JoinHandle<()>>>,
}

impl Invoker {
    /// Starts its timer and its watch over the functions. Within a tokio runtime.
    pub fn start(parts: Parts) -> Self {
        let account = parts.registry.account().clone();
        let context = Arc::new(Context {
            dispatch: Dispatch::new(Scheduler::new(parts.settings)),
            registry: parts.registry,
            launcher: parts.launcher,
            logs: parts.logs,
            records: parts.records,
            account,
            busy_poll: parts.busy_poll,
            ping_after: parts.ping_after,
            freeze_after: parts.freeze_after,
            stems: Stems::new(parts.stem_memory),
            checkpoints: parts.checkpoints,
        });
        let timer = {
            let context = Arc::clone(&context);
            tokio::spawn(async move { context.dispatch.run_timer(&context).await })
        };
        let follower = {
            let context = Arc::clone(&context);
            tokio::spawn(async move {
                let mut changes = context.registry.changes();
                loop {
                    changes.mark_unchanged();
                    context.dispatch.follow(&context);
                    context
                        .stems
                        .follow(&context.launcher, &context.registry.snapshot());
                    if changes.changed().await.is_err() {
                        return;
                    }
                }
            })
        };
        let stems = {
            let context = Arc::clone(&context);
            tokio::spawn(async move { context.stems.run(&context).await })
        };
        Self {
            context,
            tasks: Arc::new(vec![timer, follower, stems]),
        }
    }

    /// Runs an invocation to its end. The invocation does not depend on this future: dropping it loses the answer and nothing else.
    pub async fn invoke(&self, invocation: Invocation) -> Result<Completed, InvokeError> {
        let served = self.invoke_received(invocation, std::time::Instant::now());
        served.await.map_err(|unserved| self.give_up(unserved))
    }

    /// As [`invoke`](Self::invoke), for a request whose head came at this moment. A call whose version was replaced before it ran
    /// ([`InvokeError::Changed`]) is not recorded: it is begun anew with another, or [given up](Self::give_up).
    pub async fn invoke_received(
        &self,
        invocation: Invocation,
        received: std::time::Instant,
    ) -> Result<Completed, Unserved> {
        let (reply, answer) = oneshot::channel();
        let arrival = Arrival::now(Instant::from_std(received));
        self.context
            .dispatch
            .arrive(&self.context, invocation, arrival, reply);
        answer.await.unwrap_or_else(|_| {
            self.context.records.lost(arrival.accepted.elapsed());
            Err(Unserved::recorded(InvokeError::Unavailable(
                "the instance's task ended before the call".to_owned(),
            )))
        })
    }

    /// Records the refusal of a call that is not begun anew, if it is not recorded yet.
    pub fn give_up(&self, unserved: Unserved) -> InvokeError {
        unserved.given_up(&self.context.records).error
    }

    /// Makes a version ready to be called on another engine than its own, or says why it can't be. Asks nobody where an instance of it is there.
    pub async fn elsewhere(&self, version: &Version, engine: EngineName) -> Result<(), Elsewhere> {
        match self.context.dispatch.serves(version, engine) {
            true => Ok(()),
            false => self.context.launcher.elsewhere(version, engine).await,
        }
    }

    /// Accepts no more calls and waits, at most this long, until accepted calls are answered and instances are gone. Whether all of that happened.
    pub async fn drain(&self, limit: Duration) -> bool {
        let end = async {
            tokio::join!(
                self.context.stems.close(),
                self.context.dispatch.drain(&self.context)
            )
        };
        let drained = tokio::time::timeout(limit, end).await.is_ok();
        for task in self.tasks.iter() {
            task.abort();
        }
        drained
    }

    /// Counts of instances and calls at this moment.
    pub fn counts(&self) -> warren_scheduler::Snapshot {
        self.context.dispatch.counts()
    }

    /// Sandboxes that are started ahead and wait for a function.
    pub fn stems(&self) -> usize {
        self.context.stems.ready()
    }

    /// What has come of a version's wish to be restored from a checkpoint, in words for its owner.
    pub fn snap_start_state(&self, version: &Version) -> String {
        let engine = version.config.engine;
        match self.context.launcher.engines.get(&engine) {
            Some(found) if !found.restores() => {
                format!("not used: the engine {engine} takes no checkpoints")
            }
            _ => self
                .context
                .dispatch
                .checkpoint_state(version)
                .unwrap_or_else(|| "no instance has been started yet".to_owned()),
        }
    }

    /// Where the records of calls go, and the metrics that are made of them.
    pub fn records(&self) -> &Records {
        &self.context.records
    }

    /// How sockets wait for short calls.
    pub fn busy_poll(&self) -> &BusyPoll {
        &self.context.busy_poll
    }

    /// How versions are made startable.
    pub fn launcher(&self) -> &Arc<Launcher> {
        &self.context.launcher
    }
}
