use std::{hint::black_box, time::Duration, time::Instant};

use super::world::{Steady, World, spec};
use crate::{Action, CallId, Event, Moment, PoolKey, Scheduler, Settings};

const POOL: PoolKey = PoolKey(1);

/// So many callers, each of which calls again as soon as it is answered.
fn closed_loop(world: &mut World<Steady>, callers: usize, duration: Duration) {
    let end = world.now.plus(duration);
    world.ended.clear();
    for _ in 0..callers {
        world.arrive(POOL);
    }
    while world.step(end) {
        for (_, pool) in std::mem::take(&mut world.ended) {
            world.arrive(pool);
        }
    }
}

fn world(call: Duration) -> World<Steady> {
    let start = Duration::from_millis(300);
    let mut world = World::new(Settings::new(16 << 10, 100), Steady { start, call });
    world.define(POOL, spec(1));
    world
}

#[test]
fn callers_of_a_fast_function_share_a_warm_instance() {
    let mut world = world(Duration::from_micros(100));
    world.arrive(POOL);
    world.advance(Duration::from_secs(1));
    closed_loop(&mut world, 16, Duration::from_millis(100));
    assert_eq!(world.starts, 1);
    assert!(world.calls.len() > 900, "{}", world.calls.len());
}

#[test]
fn callers_of_a_fast_function_start_few_instances_from_cold() {
    let mut world = world(Duration::from_micros(100));
    closed_loop(&mut world, 16, Duration::from_millis(310));
    // Four at once; all are ready at the same moment, and each is followed by one before the first call has ended.
    assert!(world.starts <= 8, "{} starts", world.starts);
}

#[test]
fn callers_of_a_slow_function_get_one_each() {
    let mut world = world(Duration::from_secs(1));
    world.arrive(POOL);
    world.advance(Duration::from_secs(2));
    closed_loop(&mut world, 16, Duration::from_secs(4));
    assert_eq!(world.starts, 16);
}

/// Prints what a warm call costs the scheduler; asserts nothing, as that depends on the machine.
#[test]
fn timing_of_warm_calls() {
    const ROUNDS: u64 = 1_000_000;
    let mut scheduler = Scheduler::new(Settings::new(16 << 10, 1_000));
    let mut actions = Vec::with_capacity(8);
    // Many functions and instances, so that nothing is found by luck.
    for pool in 0..1_000 {
        scheduler.define(PoolKey(pool), spec(pool));
        let event = Event::Limits {
            function: crate::FunctionKey(pool),
            reserved: (pool % 10 == 0).then_some(2),
        };
        scheduler.handle(event, Moment(0), &mut actions);
    }
    let mut running = Vec::new();
    for pool in 0..100 {
        let (call, pool) = (CallId(pool), PoolKey(pool));
        scheduler.handle(Event::Arrive { call, pool }, Moment(0), &mut actions);
    }
    while let Some(action) = actions.pop() {
        match action {
            Action::Start { instance, .. } => {
                scheduler.handle(Event::Started { instance }, Moment(1), &mut actions);
            }
            Action::Run { call, instance } => running.push(Event::Finished {
                call,
                instance,
                reusable: true,
            }),
            _ => {}
        }
    }
    assert_eq!(running.len(), 100);
    for event in running {
        scheduler.handle(event, Moment(2), &mut actions);
    }
    let begun = Instant::now();
    for round in 0..ROUNDS {
        let (call, pool) = (CallId(1_000 + round), PoolKey(round % 100));
        let now = Moment(10 + round);
        scheduler.handle(Event::Arrive { call, pool }, now, &mut actions);
        let Some(Action::Run { call, instance }) = actions.pop() else {
            panic!("a warm call runs at once");
        };
        let finished = Event::Finished {
            call,
            instance,
            reusable: true,
        };
        scheduler.handle(finished, now, &mut actions);
        black_box(scheduler.next_wake());
    }
    let each = begun.elapsed().as_nanos() / u128::from(ROUNDS);
    println!("arrival and end of a warm call: {each} ns together");
}
