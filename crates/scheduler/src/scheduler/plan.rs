//! Which pool starts the next instance, and who makes room for it.

use std::cmp::Reverse;

use warren_model::EngineName;

use super::Scheduler;
use crate::{Action, Moment, PoolKey};

/// What planning keeps between two runs.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Starts under way, per engine. A list, since there are few engines.
    under_way: Vec<(EngineName, u32)>,
    /// Whether the last run left a pool that wants a start and has no room on the host.
    short_of_room: bool,
    /// Pools that want a start, the one whose call has waited longest last; kept for its memory.
    candidates: Vec<Reverse<(Moment, PoolKey)>>,
}

impl Plan {
    fn starts(&mut self, engine: EngineName) -> &mut u32 {
        let place = match self.under_way.iter().position(|(name, _)| *name == engine) {
            Some(place) => place,
            None => {
                self.under_way.push((engine, 0));
                self.under_way.len() - 1
            }
        };
        &mut self.under_way[place].1
    }

    pub(super) fn start_ended(&mut self, engine: EngineName) {
        *self.starts(engine) -= 1;
    }

    pub(super) fn short_of_room(&self) -> bool {
        self.short_of_room
    }
}

/// Whether the host has room for one more instance.
enum Room {
    /// Now.
    Free,
    /// When those that were told to stop are gone.
    Leaving,
    /// When some that are idle have been stopped.
    Idle,
    /// Not before calls end.
    Taken,
}

/// What came of trying to start an instance.
enum Attempt {
    Started,
    /// Too many starts are under way, or the host is full of busy instances. Others may try.
    NotNow,
    /// Others would take the room that is being made.
    RoomIsMade,
}

impl Scheduler {
    /// Starts what pays and fits, for the oldest waiting call first.
    pub(super) fn plan(&mut self, actions: &mut Vec<Action>) {
        self.plan.short_of_room = false;
        if self.waiting.calls == 0 {
            return;
        }
        let mut candidates = std::mem::take(&mut self.plan.candidates);
        candidates.clear();
        candidates.extend(
            self.waiting
                .pools
                .iter()
                .filter_map(|key| self.candidate(*key)),
        );
        candidates.sort_unstable();
        while let Some(Reverse((_, key))) = candidates.pop() {
            match self.start_for(key, actions) {
                Attempt::Started => {
                    if let Some(again) = self.candidate(key) {
                        candidates.push(again);
                        candidates.sort_unstable();
                    }
                }
                Attempt::NotNow => {}
                Attempt::RoomIsMade => break,
            }
        }
        self.plan.candidates = candidates;
    }

    /// The pool with its turn, if it wants a start and may have one.
    fn candidate(&self, key: PoolKey) -> Option<Reverse<(Moment, PoolKey)>> {
        let pool = self.pools.get(&key)?;
        let since = pool.uncovered_since()?;
        (pool.wants_start(self.now) && pool.may_start(self.now)).then_some(Reverse((since, key)))
    }

    /// Starts one instance, or makes room for it.
    fn start_for(&mut self, key: PoolKey, actions: &mut Vec<Action>) -> Attempt {
        let Some(pool) = self.pools.get(&key) else {
            return Attempt::NotNow;
        };
        let (engine, memory_mb) = (pool.spec.engine, pool.spec.memory_mb);
        if *self.plan.starts(engine) >= self.settings.starts_per_engine.get() {
            return Attempt::NotNow;
        }
        loop {
            match self.room(memory_mb) {
                Room::Free => {
                    self.start(key, actions);
                    return Attempt::Started;
                }
                Room::Leaving => {
                    self.plan.short_of_room = true;
                    return Attempt::RoomIsMade;
                }
                Room::Idle => match self.oldest_idle() {
                    Some((instance, owner)) => self.stop_idle(instance, owner, actions),
                    None => return Attempt::NotNow,
                },
                Room::Taken => {
                    self.plan.short_of_room = true;
                    return Attempt::NotNow;
                }
            }
        }
    }

    fn start(&mut self, key: PoolKey, actions: &mut Vec<Action>) {
        let Some(pool) = self.pools.get_mut(&key) else {
            return;
        };
        pool.starting += 1;
        pool.instances += 1;
        let instance = self.instances.insert(key, pool.spec.memory_mb, self.now);
        *self.plan.starts(pool.spec.engine) += 1;
        self.starts += 1;
        actions.push(Action::Start {
            instance,
            pool: key,
        });
    }

    fn room(&self, memory_mb: u32) -> Room {
        let tallies = self.instances.tallies();
        let total = tallies.total();
        let fits = |held: u64, count: u32| {
            held + u64::from(memory_mb) <= self.settings.host_memory_mb
                && count < self.settings.host_instances
        };
        let (memory, count) = (total.memory_mb, total.count);
        if fits(memory, count) {
            return Room::Free;
        }
        let (memory, count) = (
            memory - tallies.stopping.memory_mb,
            count - tallies.stopping.count,
        );
        if fits(memory, count) {
            return Room::Leaving;
        }
        if fits(memory - tallies.idle.memory_mb, count - tallies.idle.count) {
            return Room::Idle;
        }
        Room::Taken
    }
}
