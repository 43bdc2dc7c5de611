use crate::{
    Action, CallId, Event, FunctionKey, Instance, Moment, PoolKey, PoolSnapshot, PoolSpec, Refusal,
    Settings, Snapshot,
    instances::{Instances, Phase},
    keys::NumberMap,
    limits::Limits,
    pool::Pool,
};

mod plan;
#[cfg(test)]
mod tests;
mod wake;

/// The scheduler of one host.
///
/// Every accepted call that is not withdrawn gets exactly one [`Action::Run`] or [`Action::Refuse`], as long as the driver answers each [`Action::Start`], [`Action::Run`] and
/// [`Action::Stop`] with its event and sends [`Event::Tick`] at [`Self::next_wake`].
#[derive(Debug)]
pub struct Scheduler {
    settings: Settings,
    /// The latest moment seen; time never goes back.
    now: Moment,
    draining: bool,
    pools: NumberMap<PoolKey, Pool>,
    instances: Instances,
    limits: Limits,
    waiting: WaitingPools,
    plan: plan::Plan,
    /// Not later than the next moment at which time alone changes what to do.
    wake: Option<Moment>,
    starts: u64,
    start_failures: u64,
    ignored: u64,
}

/// The pools in which calls wait.
#[derive(Debug, Default)]
struct WaitingPools {
    pools: Vec<PoolKey>,
    /// In all of them.
    calls: u32,
}

impl WaitingPools {
    fn entered(&mut self, key: PoolKey, pool: &Pool) {
        self.calls += 1;
        if pool.waiting() == 1 {
            self.pools.push(key);
        }
    }

    fn left(&mut self, key: PoolKey, pool: &Pool) {
        self.calls -= 1;
        if pool.waiting() == 0
            && let Some(place) = self.pools.iter().position(|other| *other == key)
        {
            self.pools.swap_remove(place);
        }
    }
}

impl Scheduler {
    /// One without pools.
    pub fn new(settings: Settings) -> Self {
        Self {
            limits: Limits::new(settings.account_concurrency),
            settings,
            now: Moment::default(),
            draining: false,
            pools: NumberMap::default(),
            instances: Instances::default(),
            waiting: WaitingPools::default(),
            plan: plan::Plan::default(),
            wake: None,
            starts: 0,
            start_failures: 0,
            ignored: 0,
        }
    }

    /// Makes a pool known, before its first call. Defining a known one changes nothing.
    pub fn define(&mut self, pool: PoolKey, spec: PoolSpec) {
        let first_start = self.settings.first_start;
        self.pools
            .entry(pool)
            .or_insert_with(|| Pool::new(spec, first_start));
    }

    /// Takes in what happened and appends what to do. A moment before the latest one seen counts as that one.
    pub fn handle(&mut self, event: Event, now: Moment, actions: &mut Vec<Action>) {
        self.now = self.now.max(now);
        match event {
            Event::Arrive { call, pool } => self.arrive(call, pool, actions),
            Event::Withdrawn { call, pool } => self.withdrawn(call, pool, actions),
            Event::Started { instance } => self.started(instance, actions),
            Event::StartFailed { instance } => self.start_failed(instance, actions),
            Event::Finished {
                call,
                instance,
                reusable,
            } => self.finished(call, instance, reusable, actions),
            Event::Returned { call, instance } => self.returned(call, instance, actions),
            Event::Lost { instance } => self.lost(instance, actions),
            Event::Stopped { instance } => self.stopped(instance, actions),
            Event::Obsolete { pool } => self.obsolete(pool, actions),
            Event::Limits { function, reserved } => self.limits.reserve(function, reserved),
            Event::Tick => self.tick(actions),
            Event::Drain => self.drain(actions),
        }
    }

    /// When to send the next [`Event::Tick`], at the latest; it may turn out that there is nothing to do then.
    pub fn next_wake(&self) -> Option<Moment> {
        self.wake
    }

    /// After [`Event::Drain`]: no call and no instance is left.
    pub fn is_drained(&self) -> bool {
        self.draining && self.limits.in_flight() == 0 && self.instances.tallies().total().count == 0
    }

    /// Counts of everything.
    pub fn snapshot(&self) -> Snapshot {
        let tallies = self.instances.tallies();
        Snapshot {
            starting: tallies.starting.count,
            idle: tallies.idle.count,
            busy: tallies.busy.count,
            stopping: tallies.stopping.count,
            memory_mb: tallies.total().memory_mb,
            waiting: self.waiting.calls,
            in_flight: self.limits.in_flight(),
            starts: self.starts,
            start_failures: self.start_failures,
            ignored: self.ignored,
        }
    }

    /// Counts of one pool, if it is known.
    pub fn pool_snapshot(&self, pool: PoolKey) -> Option<PoolSnapshot> {
        self.pools.get(&pool).map(Pool::snapshot)
    }

    fn arrive(&mut self, call: CallId, key: PoolKey, actions: &mut Vec<Action>) {
        let mut refuse = |refusal| actions.push(Action::Refuse { call, refusal });
        if self.draining {
            return refuse(Refusal::Draining);
        }
        let Some(pool) = self.pools.get_mut(&key).filter(|pool| !pool.obsolete) else {
            return refuse(Refusal::Obsolete);
        };
        let function = pool.spec.function;
        if let Err(refusal) = self.limits.admit(function) {
            return refuse(refusal);
        }
        let parallel = pool.spec.concurrency.get() as usize;
        if let Some(&instance) = pool.free.back() {
            if self.instances.run(instance, call, self.now) == parallel {
                pool.free.pop_back();
            }
            actions.push(Action::Run { call, instance });
            return;
        }
        let refusal = if self.waiting.calls >= self.settings.queue_calls {
            Some(Refusal::HostBusy {
                retry_after_s: pool.retry_after_s(),
            })
        } else if u64::from(pool.spec.memory_mb) > self.settings.host_memory_mb {
            Some(Refusal::ExceedsHost {
                needed_mb: pool.spec.memory_mb,
                host_mb: self.settings.host_memory_mb,
            })
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.limits.release(function);
            return refuse(refusal);
        }
        pool.enqueue(call, self.now);
        self.waiting.entered(key, pool);
        let wants_start = pool.wants_start(self.now);
        if let Some(deadline) = pool.deadline(self.settings.queue_wait, self.now) {
            self.wake_at(deadline);
        }
        if wants_start {
            self.plan(actions);
        }
    }

    fn withdrawn(&mut self, call: CallId, key: PoolKey, actions: &mut Vec<Action>) {
        let Some(pool) = self.pools.get_mut(&key) else {
            self.ignored += 1;
            return;
        };
        if !pool.withdraw(call) {
            self.ignored += 1;
            return;
        }
        self.waiting.left(key, pool);
        self.limits.release(pool.spec.function);
        self.forget_if_over(key);
        // Others may have waited behind it for room.
        self.plan(actions);
    }

    fn started(&mut self, instance: Instance, actions: &mut Vec<Action>) {
        let Some((key, since)) = self.starting(instance) else {
            self.ignored += 1;
            return;
        };
        let Some(pool) = self.pools.get_mut(&key) else {
            return;
        };
        self.plan.start_ended(pool.spec.engine);
        pool.starting -= 1;
        pool.ready += 1;
        pool.started(self.now.since(since));
        let parallel = pool.spec.concurrency.get() as usize;
        let mut running = 0;
        while running < parallel
            && let Some(call) = pool.dequeue()
        {
            self.waiting.left(key, pool);
            running = self.instances.run(instance, call, self.now);
            actions.push(Action::Run { call, instance });
        }
        if running < parallel {
            pool.free.push_back(instance);
        }
        if let Some(deadline) = pool.deadline(self.settings.queue_wait, self.now) {
            self.wake_at(deadline);
        }
        if running == 0 {
            self.rest_or_stop(instance, key, actions);
        }
        self.plan(actions);
    }

    fn start_failed(&mut self, instance: Instance, actions: &mut Vec<Action>) {
        let Some((key, _)) = self.starting(instance) else {
            self.ignored += 1;
            return;
        };
        self.start_failures += 1;
        self.instances.remove(instance);
        let Some(pool) = self.pools.get_mut(&key) else {
            return;
        };
        self.plan.start_ended(pool.spec.engine);
        pool.starting -= 1;
        pool.instances -= 1;
        for _ in 0..pool.start_failed(instance, self.now) {
            if let Some(call) = pool.dequeue() {
                self.waiting.left(key, pool);
                self.limits.release(pool.spec.function);
                let refusal = Refusal::StartFailed { instance };
                actions.push(Action::Refuse { call, refusal });
            }
        }
        if let Some(deadline) = pool.deadline(self.settings.queue_wait, self.now) {
            self.wake_at(deadline);
        }
        self.forget_if_over(key);
        self.plan(actions);
    }

    fn returned(&mut self, call: CallId, instance: Instance, actions: &mut Vec<Action>) {
        let Some((key, since, _, _)) = self.running(instance, call) else {
            self.ignored += 1;
            return;
        };
        if let Some(pool) = self.pools.get(&key) {
            self.limits.readmit(pool.spec.function);
        }
        self.finished(call, instance, false, actions);
        let Some(pool) = self.pools.get_mut(&key) else {
            return;
        };
        if let Some(&free) = pool.free.back() {
            let parallel = pool.spec.concurrency.get() as usize;
            if self.instances.run(free, call, self.now) == parallel {
                pool.free.pop_back();
            }
            actions.push(Action::Run {
                call,
                instance: free,
            });
            return;
        }
        pool.requeue(call, since);
        self.waiting.entered(key, pool);
        if let Some(deadline) = pool.deadline(self.settings.queue_wait, self.now) {
            self.wake_at(deadline);
        }
        self.plan(actions);
    }

    fn finished(
        &mut self,
        call: CallId,
        instance: Instance,
        reusable: bool,
        actions: &mut Vec<Action>,
    ) {
        let Some((key, since, running, keep)) = self.running(instance, call) else {
            self.ignored += 1;
            return;
        };
        let Some(pool) = self.pools.get_mut(&key) else {
            return;
        };
        self.limits.release(pool.spec.function);
        pool.ended(self.now.since(since));
        let was_free = running < pool.spec.concurrency.get() as usize;
        if keep && !reusable {
            self.instances.give_up(instance);
            pool.ready -= 1;
            if was_free {
                pool.remove_free(instance);
            }
        }
        let keep = keep && reusable;
        let next = if keep { pool.dequeue() } else { None };
        if let Some(next) = next {
            self.waiting.left(key, pool);
            self.instances.replace(instance, call, next, self.now);
            actions.push(Action::Run {
                call: next,
                instance,
            });
        } else {
            if keep && !was_free {
                pool.free.push_back(instance);
            }
            if running > 1 {
                self.instances.end_one(instance, call);
            } else if keep {
                self.rest_or_stop(instance, key, actions);
            } else {
                self.instances.stop(instance);
                actions.push(Action::Stop { instance });
            }
        }
        if self.waiting.calls > 0 && (self.plan.short_of_room() || self.wants_start(key)) {
            self.plan(actions);
        }
    }

    fn lost(&mut self, instance: Instance, actions: &mut Vec<Action>) {
        let Some(record) = self.instances.get(instance) else {
            self.ignored += 1;
            return;
        };
        let key = record.pool;
        match record.phase() {
            Phase::Starting { .. } => self.start_failed(instance, actions),
            Phase::Idle(_) => self.stop_idle(instance, key, actions),
            Phase::Busy(busy) => {
                if !busy.keep {
                    return;
                }
                self.instances.give_up(instance);
                if let Some(pool) = self.pools.get_mut(&key) {
                    pool.ready -= 1;
                    pool.remove_free(instance);
                }
                self.plan(actions);
            }
            Phase::Stopping => self.ignored += 1,
        }
    }

    fn stopped(&mut self, instance: Instance, actions: &mut Vec<Action>) {
        let key = match self.instances.get(instance) {
            Some(record) if matches!(record.phase(), Phase::Stopping) => record.pool,
            _ => {
                self.ignored += 1;
                return;
            }
        };
        self.instances.remove(instance);
        if let Some(pool) = self.pools.get_mut(&key) {
            pool.instances -= 1;
        }
        self.forget_if_over(key);
        self.plan(actions);
    }

    fn obsolete(&mut self, key: PoolKey, actions: &mut Vec<Action>) {
        let Some(pool) = self.pools.get_mut(&key) else {
            self.ignored += 1;
            return;
        };
        pool.obsolete = true;
        for instance in std::mem::take(&mut pool.free) {
            let idle = self
                .instances
                .get(instance)
                .is_some_and(|record| matches!(record.phase(), Phase::Idle(_)));
            if idle {
                pool.ready -= 1;
                self.instances.stop(instance);
                actions.push(Action::Stop { instance });
            }
        }
        self.forget_if_over(key);
    }

    fn drain(&mut self, actions: &mut Vec<Action>) {
        self.draining = true;
        while let Some((instance, key)) = self.oldest_idle() {
            self.stop_idle(instance, key, actions);
        }
    }

    /// What an instance without a call does: it waits for one, or stops if none can come. It is among the free ones.
    fn rest_or_stop(&mut self, instance: Instance, key: PoolKey, actions: &mut Vec<Action>) {
        if self.draining || self.pools.get(&key).is_none_or(|pool| pool.obsolete) {
            self.stop_idle(instance, key, actions);
        } else {
            self.instances.rest(instance, self.now);
            self.wake_at(self.now.plus(self.settings.idle_after));
        }
    }

    /// Stops one that is ready, free and without a call.
    fn stop_idle(&mut self, instance: Instance, key: PoolKey, actions: &mut Vec<Action>) {
        if let Some(pool) = self.pools.get_mut(&key) {
            pool.ready -= 1;
            pool.remove_free(instance);
        }
        self.instances.stop(instance);
        actions.push(Action::Stop { instance });
    }

    fn wants_start(&self, key: PoolKey) -> bool {
        self.pools
            .get(&key)
            .is_some_and(|pool| pool.wants_start(self.now))
    }

    fn oldest_idle(&self) -> Option<(Instance, PoolKey)> {
        let (instance, _) = self.instances.oldest_idle()?;
        Some((instance, self.instances.get(instance)?.pool))
    }

    /// The pool of an instance that is being started, and since when.
    fn starting(&self, instance: Instance) -> Option<(PoolKey, Moment)> {
        let record = self.instances.get(instance)?;
        match record.phase() {
            Phase::Starting { since } => Some((record.pool, *since)),
            _ => None,
        }
    }

    /// The pool of an instance on which this call runs, since when it does, how many run there, and whether it takes further ones.
    fn running(&self, instance: Instance, call: CallId) -> Option<(PoolKey, Moment, usize, bool)> {
        let record = self.instances.get(instance)?;
        match record.phase() {
            Phase::Busy(busy) => Some((record.pool, busy.since(call)?, busy.calls(), busy.keep)),
            _ => None,
        }
    }

    fn forget_if_over(&mut self, key: PoolKey) {
        if let Some(pool) = self.pools.get(&key)
            && pool.is_over()
        {
            let function: FunctionKey = pool.spec.function;
            self.pools.remove(&key);
            self.limits.forget(function);
        }
    }
}
