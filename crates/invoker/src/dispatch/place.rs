//! Places for one-shot runs: each is a pool of one call and one instance, so that the scheduler counts it as it counts calls (account, memory, instances,
//! starts at one time) and knows of nothing else.
//!
//! ```text
//!   waiting ──► granted: starting ──► running ──► ended ──► gone
//!      └─► refused         └─► failed ─────────────────────► ▲
//! ```

use std::{collections::HashMap, num::NonZeroU32, sync::Arc};

use tokio::sync::oneshot;
use warren_model::{EngineName, Memory};
use warren_scheduler::{CallId, Event, FunctionKey, Instance, PoolKey, PoolSpec, Refusal};

use super::{Core, Dispatch, refused};
use crate::{InvokeError, invoker::Context};

/// Runs that wait for a place.
#[derive(Default)]
pub(super) struct Waiting {
    /// What all runs together count as: a function without a reservation.
    function: Option<FunctionKey>,
    pools: HashMap<PoolKey, CallId>,
    calls: HashMap<CallId, oneshot::Sender<Result<Place, InvokeError>>>,
}

impl Waiting {
    /// Gives a place to the run whose pool this is. Whether there is one.
    pub(super) fn grant(
        &mut self,
        context: &Arc<Context>,
        pool: PoolKey,
        instance: Instance,
    ) -> bool {
        let Some(call) = self.pools.remove(&pool) else {
            return false;
        };
        let place = Place {
            context: Arc::clone(context),
            call,
            instance,
            phase: Phase::Starting,
        };
        if let Some(waiting) = self.calls.remove(&call)
            && let Err(unwanted) = waiting.send(Ok(place))
        {
            // Its end is told to the scheduler, which is busy with this very action.
            tokio::spawn(async move { drop(unwanted) });
        }
        true
    }

    /// Forgets a run that waits. Whether it did.
    fn forget(&mut self, call: CallId, pool: PoolKey) -> bool {
        self.pools.remove(&pool);
        self.calls.remove(&call).is_some()
    }

    /// Refuses a run. Whether the call is one.
    pub(super) fn refuse(&mut self, call: CallId, refusal: Refusal) -> bool {
        self.pools.retain(|_, waiting| *waiting != call);
        let Some(waiting) = self.calls.remove(&call) else {
            return false;
        };
        // One that gave up waiting needs no answer.
        let _ = waiting.send(Err(refused(refusal)));
        true
    }
}

impl Dispatch {
    /// Waits for room for one run, within the bounds for calls. Dropping it gives up.
    pub(crate) async fn place(
        &self,
        context: &Arc<Context>,
        engine: EngineName,
        memory: Memory,
    ) -> Result<Place, InvokeError> {
        let (granted, answer) = oneshot::channel();
        let _turn = {
            let mut core = self.lock();
            let memory_mb = context.launcher.instance_mb(engine, memory);
            let (pool, call) = core.one_call_pool(engine, memory_mb);
            core.runs.pools.insert(pool, call);
            core.runs.calls.insert(call, granted);
            self.handle_locked(&mut core, context, Event::Arrive { call, pool });
            // No second call comes, so that it is forgotten with its only one.
            self.handle_locked(&mut core, context, Event::Obsolete { pool });
            Turn {
                context,
                call,
                pool,
            }
        };
        answer.await.unwrap_or(Err(InvokeError::Stopping))
    }
}

/// A run's turn in the queue; nothing once it was granted or refused. Dropping it gives it up.
struct Turn<'c> {
    context: &'c Arc<Context>,
    call: CallId,
    pool: PoolKey,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Self {
            context,
            call,
            pool,
        } = *self;
        let dispatch = &context.dispatch;
        let mut core = dispatch.lock();
        if core.runs.forget(call, pool) {
            dispatch.handle_locked(&mut core, context, Event::Withdrawn { call, pool });
        }
    }
}

impl Core {
    fn one_call_pool(&mut self, engine: EngineName, memory_mb: u32) -> (PoolKey, CallId) {
        let function = match self.runs.function {
            Some(function) => function,
            None => {
                let function = FunctionKey(self.next_key());
                *self.runs.function.insert(function)
            }
        };
        let (pool, call) = (PoolKey(self.next_key()), CallId(self.next_key()));
        self.scheduler.define(
            pool,
            PoolSpec {
                function,
                engine,
                memory_mb,
                concurrency: NonZeroU32::MIN,
            },
        );
        (pool, call)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    Ended,
    Gone,
}

/// Room for one run. Dropping it gives the room back, so it is kept until the sandbox is gone.
pub(crate) struct Place {
    context: Arc<Context>,
    call: CallId,
    instance: Instance,
    phase: Phase,
}

impl Place {
    /// The sandbox has started.
    pub(crate) fn started(&mut self) {
        self.step(Phase::Starting, Phase::Running);
    }

    /// The program has ended; the sandbox is being removed.
    pub(crate) fn ended(&mut self) {
        self.step(Phase::Running, Phase::Ended);
    }

    /// The sandbox could not be started, and nothing is left of it.
    pub(crate) fn failed(mut self) {
        if self.phase == Phase::Starting {
            self.phase = Phase::Gone;
            let instance = self.instance;
            self.tell(Event::StartFailed { instance });
        }
    }

    fn step(&mut self, from: Phase, to: Phase) {
        if self.phase != from {
            return;
        }
        self.phase = to;
        let (call, instance) = (self.call, self.instance);
        self.tell(match to {
            Phase::Starting | Phase::Running => Event::Started { instance },
            Phase::Ended => Event::Finished {
                call,
                instance,
                reusable: false,
            },
            Phase::Gone => Event::Stopped { instance },
        });
    }

    fn tell(&self, event: Event) {
        self.context.dispatch.handle(&self.context, event);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.started();
        self.ended();
        self.step(Phase::Ended, Phase::Gone);
    }
}
