//! A driver with a simulated clock: it answers what the scheduler asks for, and checks each action against what it knows itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    time::Duration,
};

use warren_model::EngineName;

use crate::{
    Action, CallId, Event, FunctionKey, Instance, Moment, PoolKey, PoolSpec, Refusal, Scheduler,
    Settings,
};

/// A spec of an ordinary pool: 128 MB, one call at a time.
pub(super) fn spec(function: u64) -> PoolSpec {
    PoolSpec {
        function: FunctionKey(function),
        engine: EngineName::DOCKER,
        memory_mb: 128,
        concurrency: NonZeroU32::MIN,
    }
}

/// How long things take, and how starts end.
pub(super) trait Nature {
    fn start(&mut self) -> Duration;
    fn start_fails(&mut self) -> bool;
    fn call(&mut self) -> Duration;
    fn stop(&mut self) -> Duration;
    fn reusable(&mut self) -> bool;
}

/// Everything takes the same time each time, and nothing fails.
pub(super) struct Steady {
    pub(super) start: Duration,
    pub(super) call: Duration,
}

impl Nature for Steady {
    fn start(&mut self) -> Duration {
        self.start
    }
    fn start_fails(&mut self) -> bool {
        false
    }
    fn call(&mut self) -> Duration {
        self.call
    }
    fn stop(&mut self) -> Duration {
        Duration::from_millis(50)
    }
    fn reusable(&mut self) -> bool {
        true
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallState {
    Waiting,
    Running,
    Ended,
    Refused(Refusal),
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) pool: PoolKey,
    pub(super) phase: KnownPhase,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum KnownPhase {
    Starting,
    Ready(BTreeSet<CallId>),
    Stopping,
}

pub(super) struct World<N> {
    pub(super) scheduler: Scheduler,
    pub(super) settings: Settings,
    pub(super) nature: N,
    pub(super) now: Moment,
    pub(super) calls: BTreeMap<CallId, (PoolKey, CallState)>,
    pub(super) instances: BTreeMap<Instance, Known>,
    pub(super) specs: BTreeMap<PoolKey, PoolSpec>,
    pub(super) reserved: BTreeMap<FunctionKey, u32>,
    pub(super) starts: usize,
    agenda: BTreeMap<(Moment, u64), Event>,
    sequence: u64,
    /// A call ended just now, for closed loops.
    pub(super) ended: Vec<(CallId, PoolKey)>,
}

impl<N: Nature> World<N> {
    pub(super) fn new(settings: Settings, nature: N) -> Self {
        Self {
            scheduler: Scheduler::new(settings.clone()),
            settings,
            nature,
            now: Moment(1_000_000),
            calls: BTreeMap::new(),
            instances: BTreeMap::new(),
            specs: BTreeMap::new(),
            reserved: BTreeMap::new(),
            starts: 0,
            agenda: BTreeMap::new(),
            sequence: 0,
            ended: Vec::new(),
        }
    }

    pub(super) fn define(&mut self, pool: PoolKey, spec: PoolSpec) {
        self.specs.insert(pool, spec.clone());
        self.scheduler.define(pool, spec);
    }

    pub(super) fn arrive(&mut self, pool: PoolKey) -> CallId {
        let call = CallId(self.calls.len() as u64 + 1);
        let waiting = self.count(|state| *state == CallState::Waiting);
        let before = self.in_flight_of(pool);
        self.calls.insert(call, (pool, CallState::Waiting));
        self.deliver(Event::Arrive { call, pool });
        match self.calls[&call].1 {
            CallState::Refused(refusal) => self.check_refusal(refusal, pool, before, waiting),
            _ => {
                let (function, account) = before;
                match self.reserved.get(&self.specs[&pool].function) {
                    Some(limit) => assert!(function < *limit as usize),
                    None => assert!(account < self.unreserved()),
                }
            }
        }
        call
    }

    /// One of those who wait gives up; `which`: so many calls wait before its call.
    pub(super) fn withdraw(&mut self, which: usize) {
        let mut waiting = self
            .calls
            .iter_mut()
            .filter(|(_, (_, state))| *state == CallState::Waiting);
        if let Some((&call, (pool, state))) = waiting.nth(which) {
            *state = CallState::Ended;
            let pool = *pool;
            self.deliver(Event::Withdrawn { call, pool });
        }
    }

    fn check_refusal(
        &self,
        refusal: Refusal,
        pool: PoolKey,
        before: (usize, usize),
        waiting: usize,
    ) {
        match refusal {
            Refusal::FunctionConcurrency { limit } => {
                assert_eq!(self.reserved[&self.specs[&pool].function], limit);
                assert!(before.0 >= limit as usize);
            }
            Refusal::AccountConcurrency { limit } => {
                assert_eq!(limit as usize, self.unreserved());
                assert!(before.1 >= limit as usize);
            }
            Refusal::HostBusy { .. } => assert!(waiting >= self.settings.queue_calls as usize),
            _ => {}
        }
    }

    fn unreserved(&self) -> usize {
        let reserved: u32 = self.reserved.values().sum();
        self.settings.account_concurrency.saturating_sub(reserved) as usize
    }

    /// Calls in flight of the pool's function, and of all functions without a reservation.
    fn in_flight_of(&self, pool: PoolKey) -> (usize, usize) {
        let function = self.specs[&pool].function;
        let mut counts = (0, 0);
        for (pool, state) in self.calls.values() {
            if matches!(state, CallState::Waiting | CallState::Running) {
                let other = self.specs[pool].function;
                counts.0 += usize::from(other == function);
                counts.1 += usize::from(!self.reserved.contains_key(&other));
            }
        }
        counts
    }

    pub(super) fn count(&self, which: impl Fn(&CallState) -> bool) -> usize {
        self.calls
            .values()
            .filter(|(_, state)| which(state))
            .count()
    }

    pub(super) fn reserve(&mut self, function: FunctionKey, reserved: Option<u32>) {
        match reserved {
            Some(limit) => self.reserved.insert(function, limit),
            None => self.reserved.remove(&function),
        };
        self.deliver(Event::Limits { function, reserved });
    }

    /// Lets time pass, with all that happens in it.
    pub(super) fn advance(&mut self, duration: Duration) {
        let end = self.now.plus(duration);
        while self.step(end) {}
        self.now = end;
    }

    /// Lets everything under way end; `false` if that takes more than so many steps.
    pub(super) fn settle(&mut self, steps: usize) -> bool {
        for _ in 0..steps {
            if self.agenda.is_empty() && self.count(|state| *state == CallState::Waiting) == 0 {
                return true;
            }
            self.step(Moment(u64::MAX));
        }
        false
    }

    /// Delivers the next event before a moment, or a tick.
    pub(super) fn step(&mut self, end: Moment) -> bool {
        let event = self.agenda.first_key_value().map(|(key, _)| *key);
        let wake = self.scheduler.next_wake();
        match (event, wake) {
            (Some(key), wake)
                if key.0 <= end && wake.is_none_or(|wake| key.0 <= wake.max(self.now)) =>
            {
                self.now = self.now.max(key.0);
                let event = self.agenda.remove(&key).unwrap();
                self.happen(event);
                true
            }
            (_, Some(wake)) if wake <= end => {
                self.now = self.now.max(wake);
                self.deliver(Event::Tick);
                let next = self.scheduler.next_wake();
                assert!(
                    next.is_none_or(|next| next > self.now),
                    "a tick leaves nothing to do now"
                );
                true
            }
            _ => false,
        }
    }

    /// An event of the agenda: true to what is known by now, or dropped.
    fn happen(&mut self, event: Event) {
        match event {
            Event::Started { instance } => match self.instances.get_mut(&instance) {
                Some(known) if known.phase == KnownPhase::Starting => {
                    known.phase = KnownPhase::Ready(BTreeSet::new());
                }
                _ => return,
            },
            Event::StartFailed { instance } => match self.instances.get(&instance) {
                Some(known) if known.phase == KnownPhase::Starting => {
                    self.instances.remove(&instance);
                }
                _ => return,
            },
            Event::Finished { call, instance, .. } => {
                let known = self.instances.get_mut(&instance).unwrap();
                let KnownPhase::Ready(running) = &mut known.phase else {
                    panic!("{instance:?} runs {call:?} and is not ready");
                };
                assert!(running.remove(&call));
                let entry = self.calls.get_mut(&call).unwrap();
                entry.1 = CallState::Ended;
                self.ended.push((call, entry.0));
            }
            Event::Stopped { instance } => {
                self.instances.remove(&instance);
            }
            _ => {}
        }
        self.deliver(event);
    }

    /// Something dies by itself.
    pub(super) fn lose(&mut self, instance: Instance) {
        if self.instances[&instance].phase == KnownPhase::Starting {
            self.instances.remove(&instance);
        }
        self.deliver(Event::Lost { instance });
    }

    pub(super) fn deliver(&mut self, event: Event) {
        let mut actions = Vec::new();
        self.scheduler.handle(event, self.now, &mut actions);
        for action in actions {
            self.perform(action);
        }
        self.check();
    }

    fn later(&mut self, after: Duration, event: Event) {
        self.sequence += 1;
        self.agenda
            .insert((self.now.plus(after), self.sequence), event);
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Start { instance, pool } => {
                self.starts += 1;
                let phase = KnownPhase::Starting;
                let known = Known { pool, phase };
                assert!(self.instances.insert(instance, known).is_none());
                let after = self.nature.start();
                if self.nature.start_fails() {
                    self.later(after, Event::StartFailed { instance });
                } else {
                    self.later(after, Event::Started { instance });
                }
            }
            Action::Run { call, instance } => {
                let oldest = self.oldest_waiting(self.calls[&call].0);
                let (pool, state) = self.calls.get_mut(&call).unwrap();
                assert_eq!(*state, CallState::Waiting, "{call:?} has one answer");
                assert_eq!(oldest, Some(call), "the oldest call of a pool runs first");
                *state = CallState::Running;
                let known = self.instances.get_mut(&instance).unwrap();
                assert_eq!(known.pool, *pool);
                let KnownPhase::Ready(running) = &mut known.phase else {
                    panic!("{instance:?} is not ready for {call:?}");
                };
                running.insert(call);
                let most = self.specs[pool].concurrency.get() as usize;
                assert!(running.len() <= most, "{instance:?} has too many calls");
                let reusable = self.nature.reusable();
                let after = self.nature.call();
                self.later(
                    after,
                    Event::Finished {
                        call,
                        instance,
                        reusable,
                    },
                );
            }
            Action::Refuse { call, refusal } => {
                let (_, state) = self.calls.get_mut(&call).unwrap();
                assert_eq!(*state, CallState::Waiting, "{call:?} has one answer");
                *state = CallState::Refused(refusal);
            }
            Action::Stop { instance } => {
                let known = self.instances.get_mut(&instance).unwrap();
                assert_eq!(known.phase, KnownPhase::Ready(BTreeSet::new()));
                known.phase = KnownPhase::Stopping;
                let after = self.nature.stop();
                self.later(after, Event::Stopped { instance });
            }
        }
    }

    fn oldest_waiting(&self, pool: PoolKey) -> Option<CallId> {
        self.calls
            .iter()
            .find(|(_, (of, state))| *of == pool && *state == CallState::Waiting)
            .map(|(call, _)| *call)
    }

    /// What holds after every event.
    fn check(&self) {
        let snapshot = self.scheduler.snapshot();
        let phases = |which: &dyn Fn(&KnownPhase) -> bool| {
            self.instances
                .values()
                .filter(|known| which(&known.phase))
                .count() as u32
        };
        let starting = phases(&|phase| *phase == KnownPhase::Starting);
        assert_eq!(snapshot.starting, starting);
        assert!(starting <= self.settings.starts_per_engine.get());
        let idle = phases(&|phase| matches!(phase, KnownPhase::Ready(calls) if calls.is_empty()));
        assert_eq!(snapshot.idle, idle);
        assert_eq!(
            snapshot.stopping,
            phases(&|phase| *phase == KnownPhase::Stopping)
        );
        assert_eq!(snapshot.instances() as usize, self.instances.len());
        assert!(snapshot.instances() <= self.settings.host_instances);
        let memory: u64 = self
            .instances
            .values()
            .map(|known| u64::from(self.specs[&known.pool].memory_mb))
            .sum();
        assert_eq!(snapshot.memory_mb, memory);
        assert!(memory <= self.settings.host_memory_mb);
        let waiting = self.count(|state| *state == CallState::Waiting) as u32;
        assert_eq!(snapshot.waiting, waiting);
        assert!(waiting <= self.settings.queue_calls);
        let running = self.count(|state| *state == CallState::Running) as u32;
        assert_eq!(snapshot.in_flight, waiting + running);
        // An early tick is harmless; a late one would leave a call waiting.
        if let Some(exact) = self.scheduler.exact_wake() {
            let wake = self.scheduler.next_wake();
            assert!(wake.is_some_and(|wake| wake <= exact.max(self.now)));
        }
        for pool in self.specs.keys() {
            if let Some(snapshot) = self.scheduler.pool_snapshot(*pool) {
                assert!(snapshot.free == 0 || snapshot.waiting == 0, "{snapshot:?}");
                let (free, waiting) = (self.free_of(*pool), snapshot.waiting);
                assert!(free.is_empty() || waiting == 0, "{free:?}");
            }
        }
    }

    pub(super) fn free_of(&self, pool: PoolKey) -> Vec<Instance> {
        self.instances
            .iter()
            .filter(|(_, known)| {
                known.pool == pool
                    && matches!(&known.phase, KnownPhase::Ready(calls) if calls.is_empty())
            })
            .map(|(instance, _)| *instance)
            .collect()
    }
}
