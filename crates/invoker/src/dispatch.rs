//! Drives the scheduler: hands it events, turns its actions into work. All under one short lock; nothing in it waits.

mod place;

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};
use warren_model::{EngineName, FunctionName, RevisionId, Version};
use warren_registry::{Hold, Snapshot};
use warren_scheduler::{
    Action, CallId, Event, FunctionKey, Instance, Moment, PoolKey, PoolSpec, Refusal, Scheduler,
};

pub(crate) use self::place::Place;
use crate::{
    Completed, Invocation, InvokeError, Unserved, arrival::Arrival, checkpoints::Checkpoint,
    instance, invoker::Context,
};

/// An accepted invocation on its way to an instance.
pub(crate) struct Job {
    pub(crate) call: CallId,
    pub(crate) invocation: Invocation,
    pub(crate) arrival: Arrival,
    /// Where the answer goes; the caller may be gone.
    pub(crate) reply: Reply,
}

pub(crate) type Reply = oneshot::Sender<Result<Completed, Unserved>>;

/// Tells the caller that his call is refused.
fn refuse(
    context: &Context,
    invocation: &Invocation,
    arrival: &Arrival,
    reply: Reply,
    error: InvokeError,
) {
    let unserved = arrival.refuse(&context.records, invocation, error);
    if let Err(Err(unserved)) = reply.send(Err(unserved)) {
        // Nobody is there to begin it anew.
        unserved.given_up(&context.records);
    }
}

/// What an instance's task is told.
#[expect(
    clippy::large_enum_variant,
    reason = "it is moved once a call; a box would be an allocation for each"
)]
pub(crate) enum Order {
    Run(Job),
    Stop,
}

/// The instances of one revision on one engine.
pub(crate) struct Pool {
    pub(crate) key: PoolKey,
    /// As its instances run it: on this pool's engine.
    pub(crate) version: Arc<Version>,
    /// As its owner has it.
    own: Arc<Version>,
    /// What its instances may be restored from.
    pub(crate) checkpoint: Checkpoint,
    /// Its code stays on the disk while an instance has it mounted or is yet to be started: accepted calls outlive a change of their function.
    _code: Hold,
}

struct PoolEntry {
    pool: Arc<Pool>,
    /// Why the latest start failed.
    failure: Option<InvokeError>,
    /// It takes no new call. It stays known until its accepted calls are over: instances may still be started for them.
    obsolete: bool,
}

struct Core {
    scheduler: Scheduler,
    pools: HashMap<PoolKey, PoolEntry>,
    by_revision: HashMap<(RevisionId, EngineName), PoolKey>,
    functions: HashMap<FunctionName, (FunctionKey, Option<u32>)>,
    /// Accepted calls that have no instance yet.
    waiting: HashMap<CallId, Job>,
    instances: HashMap<Instance, mpsc::UnboundedSender<Order>>,
    runs: place::Waiting,
    last_key: u64,
    /// The state of the functions that pools and limits were last compared with.
    followed: Option<u64>,
    /// Kept to be filled again without allocation.
    actions: Vec<Action>,
    /// When the timer will next look.
    armed: Option<Moment>,
}

/// The scheduler with what its numbers stand for.
pub(crate) struct Dispatch {
    core: Mutex<Core>,
    begin: Instant,
    /// The timer must look earlier than it meant to.
    earlier: Notify,
    /// Raised after each event while draining.
    drained: Notify,
}

impl Dispatch {
    pub(crate) fn new(scheduler: Scheduler) -> Self {
        Self {
            core: Mutex::new(Core {
                scheduler,
                pools: HashMap::new(),
                by_revision: HashMap::new(),
                functions: HashMap::new(),
                waiting: HashMap::new(),
                instances: HashMap::new(),
                runs: place::Waiting::default(),
                last_key: 0,
                followed: None,
                actions: Vec::new(),
                armed: None,
            }),
            begin: Instant::now(),
            earlier: Notify::new(),
            drained: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // Nothing inside panics half-way; if it ever did, going on is better than refusing every call.
        self.core.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn now(&self) -> Moment {
        Moment::default().plus(self.begin.elapsed())
    }

    /// Takes a new invocation. It is answered through `reply`.
    pub(crate) fn arrive(
        &self,
        context: &Arc<Context>,
        invocation: Invocation,
        arrival: Arrival,
        reply: Reply,
    ) {
        let mut core = self.lock();
        self.catch_up(&mut core, context);
        let Some(pool) = core.pool(&invocation.version, invocation.engine(), context) else {
            return refuse(context, &invocation, &arrival, reply, InvokeError::Changed);
        };
        let call = CallId(core.next_key());
        let job = Job {
            call,
            invocation,
            arrival,
            reply,
        };
        core.waiting.insert(call, job);
        self.handle_locked(&mut core, context, Event::Arrive { call, pool });
    }

    /// Takes back a call whose instance was dead before it began; it keeps its admission.
    pub(crate) fn returned(&self, context: &Arc<Context>, job: Job, instance: Instance) {
        let mut core = self.lock();
        let call = job.call;
        core.waiting.insert(call, job);
        self.handle_locked(&mut core, context, Event::Returned { call, instance });
    }

    /// Takes what happened.
    pub(crate) fn handle(&self, context: &Arc<Context>, event: Event) {
        self.handle_locked(&mut self.lock(), context, event);
    }

    /// A start failed; the reason is told to the callers that are refused for it.
    pub(crate) fn start_failed(
        &self,
        context: &Arc<Context>,
        pool: PoolKey,
        instance: Instance,
        reason: InvokeError,
    ) {
        let mut core = self.lock();
        if let Some(entry) = core.pools.get_mut(&pool) {
            entry.failure = Some(reason);
        }
        core.instances.remove(&instance);
        self.handle_locked(&mut core, context, Event::StartFailed { instance });
        core.forget_pools();
    }

    /// An instance is gone.
    pub(crate) fn stopped(&self, context: &Arc<Context>, instance: Instance) {
        let mut core = self.lock();
        core.instances.remove(&instance);
        self.handle_locked(&mut core, context, Event::Stopped { instance });
        core.forget_pools();
    }

    fn handle_locked(&self, core: &mut Core, context: &Arc<Context>, event: Event) {
        let mut actions = std::mem::take(&mut core.actions);
        core.scheduler.handle(event, self.now(), &mut actions);
        for action in actions.drain(..) {
            core.apply(action, context);
        }
        core.actions = actions;
        if let Some(wake) = core.scheduler.next_wake()
            && core.armed.is_none_or(|armed| wake < armed)
        {
            core.armed = Some(wake);
            self.earlier.notify_one();
        }
        if core.scheduler.is_drained() {
            self.drained.notify_waiters();
        }
    }

    /// Sends the scheduler its ticks, for ever.
    pub(crate) async fn run_timer(&self, context: &Arc<Context>) {
        loop {
            let wake = self.lock().armed;
            let due = match wake {
                Some(Moment(micros)) => {
                    let at = self.begin + std::time::Duration::from_micros(micros);
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => true,
                        () = self.earlier.notified() => false,
                    }
                }
                None => {
                    self.earlier.notified().await;
                    false
                }
            };
            if due {
                let mut core = self.lock();
                core.armed = None;
                self.handle_locked(&mut core, context, Event::Tick);
            }
        }
    }

    /// Follows the functions up to now.
    pub(crate) fn follow(&self, context: &Arc<Context>) {
        self.catch_up(&mut self.lock(), context);
    }

    /// Compares the pools and limits with the functions, if these have changed since the last time. Each arrival does it as well, so a limit that
    /// was acknowledged holds for every later call.
    fn catch_up(&self, core: &mut Core, context: &Arc<Context>) {
        let snapshot = context.registry.snapshot();
        if core.followed == Some(snapshot.revision) {
            return;
        }
        core.followed = Some(snapshot.revision);
        let mut events = Vec::new();
        let old: Vec<PoolKey> = core
            .pools
            .values()
            .filter(|entry| !entry.obsolete && !is_current(&snapshot, &entry.pool.own))
            .map(|entry| entry.pool.key)
            .collect();
        for pool in old {
            core.retire(pool);
            events.push(Event::Obsolete { pool });
        }
        core.functions.retain(|name, (function, known)| {
            let reserved = snapshot
                .functions
                .get(name)
                .map(|entry| entry.function.reserved_concurrency);
            if reserved.flatten() != *known {
                *known = reserved.flatten();
                events.push(Event::Limits {
                    function: *function,
                    reserved: *known,
                });
            }
            reserved.is_some()
        });
        for (name, entry) in &snapshot.functions {
            if entry.function.reserved_concurrency.is_some() && !core.functions.contains_key(name) {
                let function = core.function(name, entry.function.reserved_concurrency);
                events.push(Event::Limits {
                    function,
                    reserved: entry.function.reserved_concurrency,
                });
            }
        }
        for event in events {
            self.handle_locked(core, context, event);
        }
        core.forget_pools();
    }

    /// Accepts nothing more and waits until every accepted call is answered and every instance is gone.
    pub(crate) async fn drain(&self, context: &Arc<Context>) {
        let drained = self.drained.notified();
        tokio::pin!(drained);
        drained.as_mut().enable();
        self.handle(context, Event::Drain);
        drained.await;
    }

    /// What has come of checkpoints of a version on its own engine; none before its first call.
    pub(crate) fn checkpoint_state(&self, version: &Version) -> Option<String> {
        let core = self.lock();
        let place = (version.revision.clone(), version.config.engine);
        let entry = core.pools.get(core.by_revision.get(&place)?)?;
        Some(entry.pool.checkpoint.describe())
    }

    /// Whether there are instances of a version on an engine, be it that they start.
    pub(crate) fn serves(&self, version: &Version, engine: EngineName) -> bool {
        let core = self.lock();
        let place = (version.revision.clone(), engine);
        let pool = core.by_revision.get(&place);
        let counts = pool.and_then(|pool| core.scheduler.pool_snapshot(*pool));
        counts.is_some_and(|counts| counts.instances > 0)
    }

    pub(crate) fn counts(&self) -> warren_scheduler::Snapshot {
        self.lock().scheduler.snapshot()
    }
}

/// Whether a version is what a call of it would run now.
fn is_current(snapshot: &Snapshot, version: &Version) -> bool {
    let Some(entry) = snapshot.functions.get(&version.function) else {
        return false;
    };
    let current = match version.id {
        warren_model::VersionId::Latest => entry.ready.as_ref(),
        warren_model::VersionId::Number(number) => entry.versions.get(&number),
    };
    // Another writer may change what a revision is: its instances have the environment and the code of before.
    current.is_some_and(|current| {
        current.revision == version.revision
            && current.config == version.config
            && current.code == version.code
    })
}

impl Core {
    fn next_key(&mut self) -> u64 {
        self.last_key += 1;
        self.last_key
    }

    fn function(&mut self, name: &FunctionName, reserved: Option<u32>) -> FunctionKey {
        if let Some((key, _)) = self.functions.get(name) {
            return *key;
        }
        let key = FunctionKey(self.next_key());
        self.functions.insert(name.clone(), (key, reserved));
        key
    }

    /// The pool of a version on an engine, made at its first call. None if the version is not current any more.
    fn pool(
        &mut self,
        version: &Arc<Version>,
        engine: EngineName,
        context: &Arc<Context>,
    ) -> Option<PoolKey> {
        let place = (version.revision.clone(), engine);
        if let Some(key) = self.by_revision.get(&place) {
            return Some(*key);
        }
        let snapshot = context.registry.snapshot();
        if !is_current(&snapshot, version) {
            return None;
        }
        // A reservation that the scheduler was not told of yet is seen as a change by the next look at the functions.
        let function = self.function(&version.function, None);
        let key = PoolKey(self.next_key());
        self.scheduler.define(
            key,
            PoolSpec {
                function,
                engine,
                memory_mb: context.launcher.instance_mb(engine, version.config.memory),
                concurrency: NonZeroU32::MIN,
            },
        );
        let own = Arc::clone(version);
        let mut version = Arc::clone(version);
        if version.config.engine != engine {
            Arc::make_mut(&mut version).config.engine = engine;
        }
        let pool = Arc::new(Pool {
            key,
            own,
            checkpoint: Checkpoint::default(),
            _code: context.registry.hold(&version.code.digest),
            version,
        });
        self.pools.insert(
            key,
            PoolEntry {
                pool,
                failure: None,
                obsolete: false,
            },
        );
        self.by_revision.insert(place, key);
        Some(key)
    }

    /// Lets no further call into a pool.
    fn retire(&mut self, pool: PoolKey) {
        if let Some(entry) = self.pools.get_mut(&pool) {
            entry.obsolete = true;
            let version = &entry.pool.version;
            let place = (version.revision.clone(), version.config.engine);
            self.by_revision.remove(&place);
        }
    }

    /// Drops the retired pools of which the scheduler has nothing left.
    fn forget_pools(&mut self) {
        let scheduler = &self.scheduler;
        self.pools
            .retain(|key, entry| !entry.obsolete || scheduler.pool_snapshot(*key).is_some());
    }

    fn apply(&mut self, action: Action, context: &Arc<Context>) {
        match action {
            Action::Run { call, instance } => {
                let job = self.waiting.remove(&call);
                let orders = self.instances.get(&instance);
                if let (Some(job), Some(orders)) = (job, orders) {
                    // A task that is gone drops the job, and with it the caller's channel, which answers the caller.
                    let _ = orders.send(Order::Run(job));
                }
            }
            Action::Refuse { call, refusal } => {
                if self.runs.refuse(call, refusal) {
                    return;
                }
                if let Some(job) = self.waiting.remove(&call) {
                    let error = self.refusal(refusal, &job.invocation);
                    refuse(context, &job.invocation, &job.arrival, job.reply, error);
                }
            }
            Action::Start { instance, pool } => {
                if self.runs.grant(context, pool, instance) {
                    return;
                }
                let Some(entry) = self.pools.get(&pool) else {
                    tracing::error!(?pool, "an instance of an unknown pool was asked for");
                    return;
                };
                let (orders, inbox) = mpsc::unbounded_channel();
                self.instances.insert(instance, orders);
                tokio::spawn(instance::live(
                    Arc::clone(context),
                    Arc::clone(&entry.pool),
                    instance,
                    inbox,
                ));
            }
            Action::Stop { instance } => {
                if let Some(orders) = self.instances.get(&instance) {
                    let _ = orders.send(Order::Stop);
                }
            }
        }
    }

    fn refusal(&self, refusal: Refusal, invocation: &Invocation) -> InvokeError {
        match refusal {
            Refusal::StartFailed { .. } => {
                let reason = self
                    .pools
                    .values()
                    .find(|entry| {
                        let version = &entry.pool.version;
                        version.revision == invocation.version.revision
                            && version.config.engine == invocation.engine()
                    })
                    .and_then(|entry| entry.failure.clone());
                reason.unwrap_or_else(|| {
                    InvokeError::Unavailable("no instance could be started".to_owned())
                })
            }
            other => refused(other),
        }
    }
}

/// A refusal that needs no look at what failed.
fn refused(refusal: Refusal) -> InvokeError {
    match refusal {
        Refusal::FunctionConcurrency { limit } => InvokeError::FunctionConcurrency { limit },
        Refusal::AccountConcurrency { limit } => InvokeError::AccountConcurrency { limit },
        Refusal::HostBusy { retry_after_s } => InvokeError::HostBusy { retry_after_s },
        Refusal::Draining => InvokeError::Stopping,
        Refusal::Obsolete => InvokeError::Changed,
        other => InvokeError::Unavailable(other.to_string()),
    }
}
