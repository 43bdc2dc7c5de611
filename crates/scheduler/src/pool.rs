use std::{collections::VecDeque, time::Duration};

use crate::{
    CallId, Instance, Moment, PoolSnapshot, PoolSpec,
    keys::micros,
    mean::{CallMean, StartMean},
};

/// Wait after the first failed start; doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// Longest wait between tries of a pool whose starts fail.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// From this many failures in a row on, all waiting calls are refused with each.
const GIVE_UP_AFTER: u32 = 3;
/// `Retry-After` where nothing is known about the duration of calls, in seconds.
const RETRY_UNKNOWN_S: u64 = 5;
/// Longest `Retry-After`, in seconds.
const RETRY_MOST_S: u64 = 60;

/// One pool: its waiting calls, its instances by what they are good for, and what is known about their durations.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) spec: PoolSpec,
    pub(crate) obsolete: bool,
    /// Calls without an instance, oldest first. Empty while an instance is free.
    queue: VecDeque<Waiting>,
    /// Instances that can take a call at once, most recently used last.
    pub(crate) free: VecDeque<Instance>,
    /// Instances being started.
    pub(crate) starting: u32,
    /// Idle ones, and busy ones that take further calls.
    pub(crate) ready: u32,
    /// All, those that end included.
    pub(crate) instances: u32,
    calls: Option<CallMean>,
    starts: StartMean,
    failure: Option<Failure>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    call: CallId,
    since: Moment,
}

/// Starts that failed in a row.
#[derive(Debug, Clone, Copy)]
struct Failure {
    count: u32,
    latest: Instance,
    retry_at: Moment,
}

impl Pool {
    pub(crate) fn new(spec: PoolSpec, first_start: Duration) -> Self {
        Self {
            spec,
            obsolete: false,
            queue: VecDeque::new(),
            free: VecDeque::new(),
            starting: 0,
            ready: 0,
            instances: 0,
            calls: None,
            starts: StartMean::new(micros(first_start)),
            failure: None,
        }
    }

    pub(crate) fn enqueue(&mut self, call: CallId, now: Moment) {
        self.queue.push_back(Waiting { call, since: now });
    }

    /// Puts a call that was given back before all others.
    pub(crate) fn requeue(&mut self, call: CallId, since: Moment) {
        self.queue.push_front(Waiting { call, since });
    }

    pub(crate) fn dequeue(&mut self) -> Option<CallId> {
        self.queue.pop_front().map(|waiting| waiting.call)
    }

    /// Takes a call out wherever it stands; whether it was there.
    pub(crate) fn withdraw(&mut self, call: CallId) -> bool {
        let place = self.queue.iter().position(|waiting| waiting.call == call);
        place.is_some_and(|place| self.queue.remove(place).is_some())
    }

    /// A call that has waited too long without a start under way for it.
    pub(crate) fn dequeue_late(&mut self, longest: Duration, now: Moment) -> Option<CallId> {
        let place = self.covered();
        if self.queue.get(place)?.since.plus(longest) > now {
            return None;
        }
        self.queue.remove(place).map(|waiting| waiting.call)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Since when the oldest call waits that no start is under way for.
    pub(crate) fn uncovered_since(&self) -> Option<Moment> {
        self.queue.get(self.covered()).map(|waiting| waiting.since)
    }

    /// Calls that the instances being started will take, from the front of the queue.
    fn covered(&self) -> usize {
        self.starting as usize * self.spec.concurrency.get() as usize
    }

    fn start_expected(&self) -> Duration {
        Duration::from_micros(self.starts.micros())
    }

    /// Whether one more start pays: there are calls that no start is under way for, and they would wait for longer than a start takes, or one has.
    pub(crate) fn wants_start(&self, now: Moment) -> bool {
        let covered = self.covered();
        let Some(first) = self.queue.get(covered) else {
            return false;
        };
        let Some(calls) = self.calls else {
            return true;
        };
        // Expected wait of the last call = uncovered calls x duration / calls that run at the same time.
        let uncovered = (self.queue.len() - covered) as u128;
        let parallel = u128::from(self.ready) * u128::from(self.spec.concurrency.get());
        uncovered * u128::from(calls.micros()) > parallel * u128::from(self.starts.micros())
            || first.since.plus(self.start_expected()) <= now
    }

    /// Whether the pool may start one more now: after a failure one at a time, and not before the time of the next try.
    pub(crate) fn may_start(&self, now: Moment) -> bool {
        self.failure
            .is_none_or(|failure| self.starting == 0 && failure.retry_at <= now)
    }

    /// The next moment at which time alone changes what to do.
    pub(crate) fn deadline(&self, longest: Duration, now: Moment) -> Option<Moment> {
        let covered = self.covered();
        let refusal = self.queue.get(covered)?.since.plus(longest);
        let start = self.start_expected();
        let overdue = self
            .queue
            .partition_point(|waiting| waiting.since.plus(start) <= now);
        let next_overdue = self
            .queue
            .get(overdue.max(covered))
            .map(|waiting| waiting.since.plus(start));
        let retry = self
            .failure
            .map(|failure| failure.retry_at)
            .filter(|at| *at > now);
        [Some(refusal), next_overdue, retry]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) fn started(&mut self, took: Duration) {
        self.starts.add(micros(took));
        self.failure = None;
    }

    /// Notes a failed start; answers how many of the oldest waiting calls it refuses.
    pub(crate) fn start_failed(&mut self, instance: Instance, now: Moment) -> usize {
        let count = self
            .failure
            .map_or(0, |failure| failure.count)
            .saturating_add(1);
        let backoff = FIRST_BACKOFF
            .saturating_mul(1 << (count - 1).min(16))
            .min(LONGEST_BACKOFF);
        self.failure = Some(Failure {
            count,
            latest: instance,
            retry_at: now.plus(backoff),
        });
        match (self.starting + self.ready, count) {
            (1.., _) => 0,
            (0, GIVE_UP_AFTER..) => self.queue.len(),
            (0, _) => self.queue.len().min(1),
        }
    }

    pub(crate) fn last_failed(&self) -> Option<Instance> {
        self.failure.map(|failure| failure.latest)
    }

    pub(crate) fn ended(&mut self, took: Duration) {
        match &mut self.calls {
            Some(mean) => mean.add(micros(took)),
            None => self.calls = Some(CallMean::new(micros(took))),
        }
    }

    /// Takes an instance out of the free ones: at once if it is the one that was used longest or shortest ago.
    pub(crate) fn remove_free(&mut self, instance: Instance) {
        if self.free.front() == Some(&instance) {
            self.free.pop_front();
        } else if self.free.back() == Some(&instance) {
            self.free.pop_back();
        } else {
            self.free.retain(|other| *other != instance);
        }
    }

    /// Seconds until the queue should have moved on.
    pub(crate) fn retry_after_s(&self) -> u32 {
        let seconds = self.calls.map_or(RETRY_UNKNOWN_S, |calls| {
            let parallel = u64::from(self.ready.max(1)) * u64::from(self.spec.concurrency.get());
            let queue = (self.queue.len() as u64).saturating_add(1);
            calls
                .micros()
                .saturating_mul(queue)
                .div_ceil(parallel.saturating_mul(1_000_000))
        });
        u32::try_from(seconds.clamp(1, RETRY_MOST_S)).unwrap_or(1)
    }

    /// Nothing is left of an obsolete pool.
    pub(crate) fn is_over(&self) -> bool {
        self.obsolete && self.instances == 0 && self.queue.is_empty()
    }

    pub(crate) fn snapshot(&self) -> PoolSnapshot {
        let free = u32::try_from(self.free.len()).unwrap_or(u32::MAX);
        PoolSnapshot {
            starting: self.starting,
            ready: self.ready,
            free,
            instances: self.instances,
            waiting: u32::try_from(self.queue.len()).unwrap_or(u32::MAX),
            call_us: self.calls.map(CallMean::micros),
            start_us: self.starts.micros(),
        }
    }
}
