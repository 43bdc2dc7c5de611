use std::{num::NonZeroU32, time::Duration};

use proptest::prelude::*;

use super::world::{KnownPhase, Nature, World, spec};
use crate::{CallId, Event, FunctionKey, Instance, PoolKey, PoolSpec, Settings};

/// Pools at the same time; two of a function each.
const POOLS: u64 = 6;

/// Times and failures from a seed.
struct Wild {
    state: u64,
    /// Starts that fail, of 256.
    failing: u64,
}

impl Wild {
    fn next(&mut self, below: u64) -> u64 {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % below
    }

    fn micros(&mut self) -> Duration {
        let magnitude = 1 << self.next(24);
        Duration::from_micros(self.next(magnitude) + 1)
    }
}

impl Nature for Wild {
    fn start(&mut self) -> Duration {
        self.micros()
    }
    fn start_fails(&mut self) -> bool {
        self.next(256) < self.failing
    }
    fn call(&mut self) -> Duration {
        self.micros()
    }
    fn stop(&mut self) -> Duration {
        self.micros()
    }
    fn reusable(&mut self) -> bool {
        self.next(8) != 0
    }
}

#[derive(Debug, Clone)]
enum Op {
    Arrive {
        pool: u64,
        times: u64,
    },
    Advance {
        micros: u64,
    },
    Replace {
        pool: u64,
    },
    Reserve {
        function: u64,
        reserved: Option<u32>,
    },
    Lose {
        which: usize,
    },
    Withdraw {
        which: usize,
    },
    Misfit {
        kind: u8,
        which: usize,
    },
    Tick,
    Drain,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..POOLS, 1..12_u64).prop_map(|(pool, times)| Op::Arrive { pool, times }),
        8 => (0..24_u32, 0..u64::MAX)
            .prop_map(|(bits, any)| Op::Advance { micros: any % (1 << bits) + 1 }),
        1 => (0..POOLS).prop_map(|pool| Op::Replace { pool }),
        1 => (0..POOLS / 2, proptest::option::of(0..6_u32))
            .prop_map(|(function, reserved)| Op::Reserve { function, reserved }),
        2 => (0..64_usize).prop_map(|which| Op::Lose { which }),
        2 => (0..16_usize).prop_map(|which| Op::Withdraw { which }),
        2 => (0..7_u8, 0..64_usize).prop_map(|(kind, which)| Op::Misfit { kind, which }),
        1 => Just(Op::Tick),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    (
        5..60_u32,
        256..4_096_u64,
        1..20_u32,
        1..40_u32,
        1..5_u32,
        any::<bool>(),
    )
        .prop_map(
            |(account, memory, instances, queue, starts, impatient)| Settings {
                account_concurrency: account,
                queue_calls: queue,
                queue_wait: Duration::from_millis(if impatient { 200 } else { 10_000 }),
                idle_after: Duration::from_secs(if impatient { 1 } else { 600 }),
                starts_per_engine: NonZeroU32::new(starts).unwrap(),
                ..Settings::new(memory, instances)
            },
        )
}

fn pool_spec(pool: u64) -> PoolSpec {
    PoolSpec {
        memory_mb: [128, 128, 256, 512, 1_024, 3_000][pool as usize],
        concurrency: NonZeroU32::new(if pool % 3 == 2 { 3 } else { 1 }).unwrap(),
        ..spec(pool / 2)
    }
}

fn instance(world: &World<Wild>, which: usize) -> Option<Instance> {
    let count = world.instances.len().max(1);
    world.instances.keys().nth(which % count).copied()
}

/// An event that doesn't fit: it must change nothing and be counted.
fn misfit(world: &mut World<Wild>, kind: u8, which: usize) {
    let known = instance(world, which);
    let phase = |world: &World<Wild>, id| match &world.instances[&id].phase {
        KnownPhase::Starting => 0,
        KnownPhase::Ready(calls) if calls.is_empty() => 1,
        KnownPhase::Ready(_) => 2,
        KnownPhase::Stopping => 3,
    };
    let unknown = Instance(u64::MAX);
    let call = CallId(u64::MAX);
    let event = match (kind, known) {
        (0, Some(id)) if phase(world, id) != 0 => Event::Started { instance: id },
        (1, Some(id)) if phase(world, id) != 0 => Event::StartFailed { instance: id },
        (2, Some(id)) if phase(world, id) != 3 => Event::Stopped { instance: id },
        (3, Some(instance)) => Event::Finished {
            call,
            instance,
            reusable: true,
        },
        (4, _) => Event::Lost { instance: unknown },
        (6, _) => Event::Withdrawn {
            call,
            pool: PoolKey(which as u64 % POOLS),
        },
        (5, _) => Event::Obsolete {
            pool: PoolKey(u64::MAX),
        },
        _ => Event::Started { instance: unknown },
    };
    let before = world.scheduler.snapshot();
    world.deliver(event);
    let mut after = world.scheduler.snapshot();
    assert_eq!(after.ignored, before.ignored + 1);
    after.ignored -= 1;
    assert_eq!(after, before);
}

fn play(mut world: World<Wild>, ops: Vec<Op>) {
    let mut current: Vec<PoolKey> = (0..POOLS).map(PoolKey).collect();
    let mut next = POOLS;
    for pool in 0..POOLS {
        world.define(PoolKey(pool), pool_spec(pool));
    }
    for op in ops {
        match op {
            Op::Arrive { pool, times } => {
                for _ in 0..times {
                    world.arrive(current[pool as usize]);
                }
            }
            Op::Advance { micros } => world.advance(Duration::from_micros(micros)),
            Op::Replace { pool } => {
                let old = std::mem::replace(&mut current[pool as usize], PoolKey(next));
                world.define(PoolKey(next), pool_spec(pool));
                next += 1;
                world.deliver(Event::Obsolete { pool: old });
            }
            Op::Reserve { function, reserved } => world.reserve(FunctionKey(function), reserved),
            Op::Lose { which } => {
                if let Some(id) = instance(&world, which)
                    && world.instances[&id].phase != KnownPhase::Stopping
                {
                    world.lose(id);
                }
            }
            Op::Withdraw { which } => world.withdraw(which),
            Op::Misfit { kind, which } => misfit(&mut world, kind, which),
            Op::Tick => world.deliver(Event::Tick),
            Op::Drain => world.deliver(Event::Drain),
        }
    }
    assert!(world.settle(20_000), "every call is answered");
    world.deliver(Event::Drain);
    assert!(world.settle(20_000), "every instance stops");
    assert!(world.instances.is_empty(), "{:?}", world.instances);
    assert!(world.scheduler.is_drained());
    assert_eq!(world.scheduler.snapshot().in_flight, 0);
    world.deliver(Event::Tick);
    assert_eq!(world.scheduler.next_wake(), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn holds_what_it_promises(
        settings in settings(),
        seed in any::<u64>(),
        failing in prop_oneof![Just(0), 0..256_u64],
        ops in proptest::collection::vec(op(), 1..60),
        drain in proptest::option::of(0..60_usize),
    ) {
        let mut ops = ops;
        if let Some(place) = drain {
            ops.insert(place.min(ops.len()), Op::Drain);
        }
        play(World::new(settings, Wild { state: seed, failing }), ops);
    }
}
