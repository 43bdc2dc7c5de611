use std::{sync::Arc, time::Duration};

use tokio::{sync::oneshot, task::JoinHandle};
use warren_model::Account;
use warren_registry::Registry;
use warren_scheduler::{Scheduler, Settings};
use warren_telemetry::FunctionLogs;

use crate::{
    BusyPoll, Completed, Invocation, InvokeError, Launcher, dispatch::Dispatch, stems::Stems,
};

/// What an invoker is made of.
pub struct Parts {
    /// Functions.
    pub registry: Registry,
    /// Makes versions startable.
    pub launcher: Arc<Launcher>,
    /// Where log lines go.
    pub logs: FunctionLogs,
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
}

/// What every instance's task needs.
pub(crate) struct Context {
    pub(crate) dispatch: Dispatch,
    pub(crate) registry: Registry,
    pub(crate) launcher: Arc<Launcher>,
    pub(crate) logs: FunctionLogs,
    pub(crate) account: Account,
    pub(crate) busy_poll: BusyPoll,
    pub(crate) ping_after: Duration,
    pub(crate) freeze_after: Duration,
    pub(crate) stems: Stems,
}

/// The data plane's handle; clones are the same invoker.
#[derive(Clone)]
pub struct Invoker {
    context: Arc<Context>,
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
            account,
            busy_poll: parts.busy_poll,
            ping_after: parts.ping_after,
            freeze_after: parts.freeze_after,
            stems: Stems::new(parts.stem_memory),
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
                    context.stems.follow(&context.registry.snapshot());
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
        let (reply, answer) = oneshot::channel();
        self.context
            .dispatch
            .arrive(&self.context, invocation, reply);
        answer.await.unwrap_or_else(|_| {
            Err(InvokeError::Unavailable(
                "the instance's task ended before the call".to_owned(),
            ))
        })
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

    /// How sockets wait for short calls.
    pub fn busy_poll(&self) -> &BusyPoll {
        &self.context.busy_poll
    }

    /// How versions are made startable.
    pub fn launcher(&self) -> &Arc<Launcher> {
        &self.context.launcher
    }
}
