//! One test per rule; the scenario is driven by hand, event by event.

use std::{num::NonZeroU32, time::Duration};

use super::world::spec;
use crate::{
    Action, CallId, Event, FunctionKey, Instance, Moment, PoolKey, PoolSpec, Refusal, Scheduler,
    Settings,
};

const A: PoolKey = PoolKey(1);
const B: PoolKey = PoolKey(2);

struct Driver {
    scheduler: Scheduler,
    now: Moment,
    calls: u64,
}

impl Driver {
    /// A host of 1024 MB with the pools A and B of two functions, 128 MB each.
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::new(1024, 100);
        change(&mut settings);
        let mut scheduler = Scheduler::new(settings);
        scheduler.define(A, spec(1));
        scheduler.define(B, spec(2));
        Self {
            scheduler,
            now: Moment(0),
            calls: 0,
        }
    }

    fn send(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.scheduler.handle(event, self.now, &mut actions);
        actions
    }

    fn arrive(&mut self, pool: PoolKey) -> Vec<Action> {
        self.calls += 1;
        let call = CallId(self.calls);
        self.send(Event::Arrive { call, pool })
    }

    fn refused(&mut self, pool: PoolKey) -> Refusal {
        match self.arrive(pool).as_slice() {
            [Action::Refuse { refusal, .. }] => *refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// A new instance of a pool, from its cause to the end of its first call, which takes this long.
    fn warm(&mut self, pool: PoolKey, call: Duration) -> Instance {
        let actions = self.arrive(pool);
        let instance = started(&actions)[0];
        self.after(Duration::from_millis(300));
        let (call_id, _) = ran(&self.send(Event::Started { instance }))[0];
        self.after(call);
        self.finish(call_id, instance);
        instance
    }

    fn finish(&mut self, call: u64, instance: Instance) -> Vec<Action> {
        self.end(call, instance, true)
    }

    fn end(&mut self, call: u64, instance: Instance, reusable: bool) -> Vec<Action> {
        self.send(Event::Finished {
            call: CallId(call),
            instance,
            reusable,
        })
    }

    fn after(&mut self, duration: Duration) {
        self.now = self.now.plus(duration);
    }

    /// Lets a time pass, with ticks when they are due.
    fn wait(&mut self, duration: Duration) -> Vec<Action> {
        let end = self.now.plus(duration);
        let mut actions = Vec::new();
        while let Some(wake) = self.scheduler.next_wake().filter(|wake| *wake <= end) {
            self.now = self.now.max(wake);
            actions.extend(self.send(Event::Tick));
        }
        self.now = end;
        actions
    }
}

fn started(actions: &[Action]) -> Vec<Instance> {
    let pick = |action: &Action| match action {
        Action::Start { instance, .. } => Some(*instance),
        _ => None,
    };
    actions.iter().filter_map(pick).collect()
}

fn ran(actions: &[Action]) -> Vec<(u64, Instance)> {
    let pick = |action: &Action| match action {
        Action::Run { call, instance } => Some((call.0, *instance)),
        _ => None,
    };
    actions.iter().filter_map(pick).collect()
}

fn refused(actions: &[Action]) -> Vec<(u64, Refusal)> {
    let pick = |action: &Action| match action {
        Action::Refuse { call, refusal } => Some((call.0, *refusal)),
        _ => None,
    };
    actions.iter().filter_map(pick).collect()
}

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

#[test]
fn a_cold_call_starts_an_instance_and_runs_on_it() {
    let mut driver = Driver::new();
    let actions = driver.arrive(A);
    let [Action::Start { instance, pool: A }] = actions[..] else {
        panic!("{actions:?}");
    };
    let actions = driver.send(Event::Started { instance });
    assert_eq!(ran(&actions), [(1, instance)]);
    assert!(driver.finish(1, instance).is_empty());
    assert_eq!(ran(&driver.arrive(A)), [(2, instance)]);
}

#[test]
fn the_most_recently_used_idle_instance_comes_first() {
    let mut driver = Driver::new();
    let first = started(&driver.arrive(A))[0];
    let second = started(&driver.arrive(A))[0];
    driver.send(Event::Started { instance: first });
    driver.send(Event::Started { instance: second });
    driver.finish(2, second);
    driver.finish(1, first);
    assert_eq!(ran(&driver.arrive(A)), [(3, first)]);
    assert_eq!(ran(&driver.arrive(A)), [(4, second)]);
}

#[test]
fn a_start_takes_the_oldest_call_and_not_its_own() {
    let mut driver = Driver::new();
    driver.arrive(A);
    let second = started(&driver.arrive(A))[0];
    let actions = driver.send(Event::Started { instance: second });
    assert_eq!(ran(&actions), [(1, second)]);
}

#[test]
fn no_start_where_calls_are_short() {
    let mut driver = Driver::new();
    let instance = driver.warm(A, MILLI);
    assert_eq!(ran(&driver.arrive(A)), [(2, instance)]);
    for _ in 0..100 {
        assert!(driver.arrive(A).is_empty());
    }
    assert_eq!(ran(&driver.finish(2, instance)), [(3, instance)]);
}

#[test]
fn a_start_where_calls_are_long() {
    let mut driver = Driver::new();
    driver.warm(A, SECOND);
    driver.arrive(A);
    assert_eq!(started(&driver.arrive(A)).len(), 1);
}

#[test]
fn a_call_that_has_waited_for_as_long_as_a_start_takes_causes_one() {
    let mut driver = Driver::new();
    driver.warm(A, MILLI);
    driver.arrive(A);
    assert!(driver.arrive(A).is_empty());
    assert!(started(&driver.wait(299 * MILLI)).is_empty());
    assert_eq!(started(&driver.wait(MILLI)).len(), 1);
    assert!(started(&driver.wait(SECOND)).is_empty(), "one and no more");
}

#[test]
fn starts_at_the_same_time_are_bounded_and_the_oldest_call_is_next() {
    let mut driver = Driver::new();
    for _ in 0..4 {
        assert_eq!(started(&driver.arrive(A)).len(), 1);
    }
    assert!(driver.arrive(B).is_empty());
    driver.after(MILLI);
    assert!(driver.arrive(A).is_empty());
    let actions = driver.send(Event::Started {
        instance: Instance(1 << 32),
    });
    assert!(
        matches!(
            actions[..],
            [Action::Run { .. }, Action::Start { pool: B, .. }]
        ),
        "{actions:?}"
    );
}

#[test]
fn reserved_concurrency_refuses_at_once_over_all_pools() {
    let mut driver = Driver::new();
    driver.scheduler.define(PoolKey(3), spec(1));
    driver.send(Event::Limits {
        function: FunctionKey(1),
        reserved: Some(2),
    });
    driver.arrive(A);
    driver.arrive(PoolKey(3));
    assert_eq!(driver.refused(A), Refusal::FunctionConcurrency { limit: 2 });
    assert_eq!(started(&driver.arrive(B)).len(), 1);
}

#[test]
fn the_account_refuses_at_once() {
    let mut driver = Driver::with(|settings| settings.account_concurrency = 2);
    driver.arrive(A);
    driver.arrive(B);
    assert_eq!(driver.refused(A), Refusal::AccountConcurrency { limit: 2 });
}

#[test]
fn a_withdrawn_call_is_forgotten_and_the_next_takes_its_turn() {
    let mut driver = Driver::with(|settings| settings.account_concurrency = 3);
    driver.scheduler.define(
        PoolKey(3),
        PoolSpec {
            memory_mb: 1024,
            ..spec(3)
        },
    );
    let instance = started(&driver.arrive(A))[0];
    driver.send(Event::Started { instance });
    assert!(driver.arrive(PoolKey(3)).is_empty(), "there is no room");
    driver.send(Event::Obsolete { pool: PoolKey(3) });
    let pool = PoolKey(3);
    let call = CallId(2);
    assert!(driver.send(Event::Withdrawn { call, pool }).is_empty());
    let after = driver.scheduler.snapshot();
    assert_eq!((after.waiting, after.in_flight), (0, 1));
    assert!(driver.scheduler.pool_snapshot(pool).is_none());
    // One that runs, and one that is unknown by now, stay as they are.
    for (call, pool) in [(CallId(1), A), (call, pool)] {
        assert!(driver.send(Event::Withdrawn { call, pool }).is_empty());
    }
    assert_eq!(driver.scheduler.snapshot().ignored, 2);
    assert_eq!(driver.scheduler.snapshot().in_flight, 1);
    // The start that was under way for it serves the next, or ends.
    let instance = started(&driver.arrive(B))[0];
    let call = CallId(3);
    driver.send(Event::Withdrawn { call, pool: B });
    assert!(ran(&driver.send(Event::Started { instance })).is_empty());
    assert_eq!(ran(&driver.arrive(B)), [(4, instance)]);
}

#[test]
fn a_failed_start_refuses_the_oldest_call_if_nothing_else_serves_it() {
    let mut driver = Driver::new();
    let first = started(&driver.arrive(A))[0];
    let second = started(&driver.arrive(A))[0];
    let actions = driver.send(Event::StartFailed { instance: first });
    assert!(actions.is_empty(), "another one is starting: {actions:?}");
    let actions = driver.send(Event::StartFailed { instance: second });
    let reason = Refusal::StartFailed { instance: second };
    assert_eq!(refused(&actions), [(1, reason)]);
    assert!(started(&actions).is_empty(), "it backs off");
    assert!(started(&driver.wait(199 * MILLI)).is_empty());
    assert_eq!(started(&driver.wait(MILLI)).len(), 1);
}

#[test]
fn repeated_failures_refuse_all_that_wait() {
    let mut driver = Driver::new();
    for _ in 0..3 {
        driver.arrive(A);
    }
    let mut refusals = Vec::new();
    for failed in 1..=3 {
        let instance = Instance(failed << 32 | (failed - 1));
        refusals.extend(refused(&driver.send(Event::StartFailed { instance })));
    }
    assert_eq!(refusals.len(), 3);
    assert_eq!(driver.scheduler.snapshot().waiting, 0);
    assert_eq!(driver.scheduler.snapshot().start_failures, 3);
}

#[test]
fn a_full_host_queues_and_then_refuses() {
    let mut driver = Driver::with(|settings| settings.host_instances = 1);
    let instance = started(&driver.arrive(A))[0];
    driver.send(Event::Started { instance });
    assert!(driver.arrive(B).is_empty());
    assert!(driver.wait(9_999 * MILLI).is_empty());
    let late = driver.wait(MILLI);
    assert_eq!(
        refused(&late),
        [(2, Refusal::HostBusy { retry_after_s: 5 })]
    );
}

#[test]
fn the_queue_is_bounded_in_calls() {
    let mut driver = Driver::with(|settings| {
        settings.host_instances = 1;
        settings.queue_calls = 2;
    });
    driver.arrive(A);
    driver.arrive(A);
    assert!(matches!(driver.refused(A), Refusal::HostBusy { .. }));
}

#[test]
fn a_call_that_a_start_is_under_way_for_is_not_refused_as_late() {
    let mut driver = Driver::new();
    let instance = started(&driver.arrive(A))[0];
    assert!(driver.wait(60 * SECOND).is_empty());
    assert_eq!(ran(&driver.send(Event::Started { instance })).len(), 1);
}

#[test]
fn a_full_host_stops_the_idle_instance_used_longest_ago() {
    let mut driver = Driver::with(|settings| settings.host_memory_mb = 256);
    let older = driver.warm(A, MILLI);
    driver.scheduler.define(PoolKey(3), spec(3));
    driver.warm(B, MILLI);
    let actions = driver.arrive(PoolKey(3));
    assert_eq!(actions, [Action::Stop { instance: older }]);
    assert!(driver.arrive(PoolKey(3)).is_empty(), "room for one first");
    let actions = driver.send(Event::Stopped { instance: older });
    assert_eq!(started(&actions).len(), 1);
}

#[test]
fn an_instance_that_becomes_idle_makes_room() {
    let mut driver = Driver::with(|settings| settings.host_instances = 1);
    let instance = started(&driver.arrive(A))[0];
    driver.send(Event::Started { instance });
    assert!(driver.arrive(B).is_empty());
    assert_eq!(driver.finish(1, instance), [Action::Stop { instance }]);
    let actions = driver.send(Event::Stopped { instance });
    assert!(matches!(actions[..], [Action::Start { pool: B, .. }]));
}

#[test]
fn smaller_ones_pass_whoever_waits_for_busy_ones() {
    let mut driver = Driver::new();
    let big = PoolSpec {
        memory_mb: 1000,
        ..spec(3)
    };
    driver.scheduler.define(PoolKey(3), big);
    let instance = started(&driver.arrive(A))[0];
    driver.send(Event::Started { instance });
    assert!(driver.arrive(PoolKey(3)).is_empty());
    assert_eq!(started(&driver.arrive(B)).len(), 1);
}

#[test]
fn what_no_host_of_this_size_can_hold_is_refused() {
    let mut driver = Driver::with(|settings| settings.host_memory_mb = 100);
    let exceeds = Refusal::ExceedsHost {
        needed_mb: 128,
        host_mb: 100,
    };
    assert_eq!(driver.refused(A), exceeds);
}

#[test]
fn idle_instances_retire() {
    let mut driver = Driver::new();
    let instance = driver.warm(A, MILLI);
    assert!(driver.wait(599 * SECOND).is_empty());
    assert_eq!(driver.wait(SECOND), [Action::Stop { instance }]);
    driver.send(Event::Stopped { instance });
    assert_eq!(driver.scheduler.snapshot().instances(), 0);
    assert_eq!(driver.scheduler.next_wake(), None);
}

#[test]
fn an_instance_that_is_not_reusable_takes_no_other_call() {
    let mut driver = Driver::new();
    let instance = started(&driver.arrive(A))[0];
    driver.send(Event::Started { instance });
    driver.arrive(A);
    let actions = driver.end(1, instance, false);
    assert!(actions.contains(&Action::Stop { instance }));
    assert!(ran(&actions).is_empty());
}

#[test]
fn an_obsolete_pool_stops_idle_ones_and_runs_what_waits() {
    let mut driver = Driver::new();
    let instance = driver.warm(A, MILLI);
    driver.arrive(A);
    driver.arrive(A);
    assert!(driver.send(Event::Obsolete { pool: A }).is_empty());
    assert_eq!(driver.refused(A), Refusal::Obsolete);
    assert_eq!(ran(&driver.finish(2, instance)), [(3, instance)]);
    assert_eq!(driver.finish(3, instance), [Action::Stop { instance }]);
    driver.send(Event::Stopped { instance });
    assert!(driver.scheduler.pool_snapshot(A).is_none());

    let idle = driver.warm(B, MILLI);
    let actions = driver.send(Event::Obsolete { pool: B });
    assert_eq!(actions, [Action::Stop { instance: idle }]);
}

#[test]
fn draining_ends_what_is_accepted_and_stops_the_rest() {
    let mut driver = Driver::new();
    let idle = driver.warm(A, MILLI);
    let instance = started(&driver.arrive(B))[0];
    assert_eq!(driver.send(Event::Drain), [Action::Stop { instance: idle }]);
    assert_eq!(driver.refused(A), Refusal::Draining);
    assert_eq!(ran(&driver.send(Event::Started { instance })).len(), 1);
    assert_eq!(driver.finish(2, instance), [Action::Stop { instance }]);
    driver.send(Event::Stopped { instance });
    assert!(!driver.scheduler.is_drained());
    driver.send(Event::Stopped { instance: idle });
    assert!(driver.scheduler.is_drained());
}

#[test]
fn a_lost_idle_instance_is_stopped_and_not_used() {
    let mut driver = Driver::new();
    let instance = driver.warm(A, MILLI);
    assert_eq!(
        driver.send(Event::Lost { instance }),
        [Action::Stop { instance }]
    );
    assert_eq!(started(&driver.arrive(A)).len(), 1);
}

#[test]
fn a_lost_busy_instance_stops_when_its_call_has_ended() {
    let mut driver = Driver::new();
    let instance = started(&driver.arrive(A))[0];
    driver.send(Event::Started { instance });
    assert!(driver.send(Event::Lost { instance }).is_empty());
    assert_eq!(driver.finish(1, instance), [Action::Stop { instance }]);
}

#[test]
fn what_does_not_fit_is_ignored_and_counted() {
    let mut driver = Driver::new();
    let instance = driver.warm(A, MILLI);
    assert!(driver.finish(1, instance).is_empty());
    assert!(driver.send(Event::Started { instance }).is_empty());
    assert!(driver.send(Event::Stopped { instance }).is_empty());
    assert_eq!(driver.scheduler.snapshot().ignored, 3);
    assert_eq!(ran(&driver.arrive(A)).len(), 1);
}

#[test]
fn several_calls_share_an_instance_where_the_pool_says_so() {
    let mut driver = Driver::new();
    let shared = PoolSpec {
        concurrency: NonZeroU32::new(2).unwrap(),
        ..spec(3)
    };
    driver.scheduler.define(PoolKey(3), shared);
    let instance = started(&driver.arrive(PoolKey(3)))[0];
    assert!(driver.arrive(PoolKey(3)).is_empty(), "one start serves two");
    let actions = driver.send(Event::Started { instance });
    assert_eq!(ran(&actions), [(1, instance), (2, instance)]);
    driver.finish(1, instance);
    assert_eq!(ran(&driver.arrive(PoolKey(3))), [(3, instance)]);
    assert!(driver.end(2, instance, false).is_empty());
    assert_eq!(started(&driver.arrive(PoolKey(3))).len(), 1);
    assert_eq!(driver.finish(3, instance), [Action::Stop { instance }]);
}

#[test]
fn a_call_that_was_given_back_keeps_its_place_and_its_admission() {
    let mut driver = Driver::new();
    let first = driver.warm(A, Duration::from_secs(5));
    let call = CallId(driver.calls + 1);
    assert_eq!(
        driver.arrive(A),
        [Action::Run {
            call,
            instance: first
        }]
    );
    // Neither a limit that is reached by now nor a drain takes its admission away.
    driver.send(Event::Limits {
        function: FunctionKey(1),
        reserved: Some(0),
    });
    driver.send(Event::Drain);
    let actions = driver.send(Event::Returned {
        call,
        instance: first,
    });
    let started = match actions.as_slice() {
        [
            Action::Stop { instance },
            Action::Start {
                instance: started, ..
            },
        ] if *instance == first => *started,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        driver.send(Event::Started { instance: started }),
        [Action::Run {
            call,
            instance: started
        }]
    );
    assert_eq!(driver.scheduler.snapshot().in_flight, 1);
    let ignored = driver.scheduler.snapshot().ignored;
    driver.send(Event::Returned {
        call,
        instance: first,
    });
    assert_eq!(driver.scheduler.snapshot().ignored, ignored + 1);
}
