//! All instances of the host, and the states that each goes through:
//!
//! ```text
//!  Action::Start          Started, a call waits
//!       │       ┌──────────────────────────────────────┐
//!       ▼       │     Started            Run           ▼
//!    Starting ──┴────────────────► Idle ──────────► Busy ──┐ Run, Finished while others run
//!       │                           │  ◄──────────   │  ◄──┘
//!       │ StartFailed, Lost         │   Finished     │ last Finished: not reusable, lost,
//!       │                           │                │ pool obsolete or draining and none waits
//!       │          retired, evicted,▼                ▼
//!       │          Lost, Obsolete,  Stopping ◄───────┘
//!       ▼          Drain               │ Stopped
//!     gone ◄───────────────────────────┘
//! ```
//!
//! `Action::Stop` is sent on each way into Stopping. Memory and a place on the host are held from Starting until gone.

use crate::{CallId, Instance, Moment, PoolKey};

/// Where an instance is in its life.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Asked for at this moment.
    Starting { since: Moment },
    /// Ready and without a call.
    Idle(Idle),
    /// Ready and with calls.
    Busy(Busy),
    /// Told to stop.
    Stopping,
}

/// An idle instance's place in the list of all idle ones, which is ordered by the moment since which they are idle.
#[derive(Debug)]
pub(crate) struct Idle {
    pub(crate) since: Moment,
    older: Option<u32>,
    newer: Option<u32>,
}

/// The calls of a busy instance: one at least.
#[derive(Debug)]
pub(crate) struct Busy {
    first: Running,
    /// Empty (and without an allocation) where an instance takes one call at a time.
    rest: Vec<Running>,
    /// Whether it takes further calls; otherwise it stops after the last.
    pub(crate) keep: bool,
}

#[derive(Debug, Clone, Copy)]
struct Running {
    call: CallId,
    since: Moment,
}

impl Busy {
    fn add(&mut self, call: CallId, since: Moment) {
        self.rest.push(Running { call, since });
    }

    /// Calls that run.
    pub(crate) fn calls(&self) -> usize {
        1 + self.rest.len()
    }

    /// Since when a call runs here, if it does.
    pub(crate) fn since(&self, call: CallId) -> Option<Moment> {
        std::iter::once(&self.first)
            .chain(&self.rest)
            .find(|running| running.call == call)
            .map(|running| running.since)
    }

    fn replace(&mut self, ended: CallId, next: Running) {
        if let Some(running) = std::iter::once(&mut self.first)
            .chain(&mut self.rest)
            .find(|running| running.call == ended)
        {
            *running = next;
        }
    }

    /// Takes one of several calls out; the last one ends the phase instead.
    fn remove(&mut self, call: CallId) {
        if self.first.call == call {
            if let Some(other) = self.rest.pop() {
                self.first = other;
            }
        } else {
            self.rest.retain(|running| running.call != call);
        }
    }
}

#[derive(Debug)]
pub(crate) struct Record {
    id: Instance,
    pub(crate) pool: PoolKey,
    memory_mb: u32,
    phase: Phase,
}

impl Record {
    pub(crate) fn phase(&self) -> &Phase {
        &self.phase
    }
}

/// How many instances are in one phase, and their memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) count: u32,
    pub(crate) memory_mb: u64,
}

/// All instances, in reused places; the number of an instance is its place and a serial number, so that finding one is an index and a comparison.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    places: Vec<Option<Record>>,
    vacant: Vec<u32>,
    serial: u32,
    oldest_idle: Option<u32>,
    newest_idle: Option<u32>,
    tallies: Tallies,
}

/// Sums per phase.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tallies {
    pub(crate) starting: Tally,
    pub(crate) idle: Tally,
    pub(crate) busy: Tally,
    pub(crate) stopping: Tally,
}

impl Tallies {
    fn of(&mut self, phase: &Phase) -> &mut Tally {
        match phase {
            Phase::Starting { .. } => &mut self.starting,
            Phase::Idle(_) => &mut self.idle,
            Phase::Busy(_) => &mut self.busy,
            Phase::Stopping => &mut self.stopping,
        }
    }

    /// Over all phases: what holds resources.
    pub(crate) fn total(&self) -> Tally {
        let all = [self.starting, self.idle, self.busy, self.stopping];
        Tally {
            count: all.iter().map(|tally| tally.count).sum(),
            memory_mb: all.iter().map(|tally| tally.memory_mb).sum(),
        }
    }
}

impl Instances {
    /// A new one, starting.
    pub(crate) fn insert(&mut self, pool: PoolKey, memory_mb: u32, now: Moment) -> Instance {
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.places.push(None);
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        });
        self.serial = self.serial.wrapping_add(1);
        let id = Instance(u64::from(self.serial) << 32 | u64::from(place));
        self.places[place as usize] = Some(Record {
            id,
            pool,
            memory_mb,
            phase: Phase::Starting { since: now },
        });
        self.tallies.starting.count += 1;
        self.tallies.starting.memory_mb += u64::from(memory_mb);
        id
    }

    pub(crate) fn get(&self, id: Instance) -> Option<&Record> {
        self.places
            .get(place(id) as usize)?
            .as_ref()
            .filter(|record| record.id == id)
    }

    pub(crate) fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// The one that has been idle for the longest time, and since when.
    pub(crate) fn oldest_idle(&self) -> Option<(Instance, Moment)> {
        let record = self.places[self.oldest_idle? as usize].as_ref()?;
        match &record.phase {
            Phase::Idle(idle) => Some((record.id, idle.since)),
            _ => None,
        }
    }

    /// Gives a call to an instance that is ready, or has become so; answers how many it has then.
    pub(crate) fn run(&mut self, id: Instance, call: CallId, now: Moment) -> usize {
        if let Some(Phase::Busy(busy)) = self.phase_mut(id) {
            busy.add(call, now);
            return busy.calls();
        }
        self.set(
            id,
            Phase::Busy(Busy {
                first: Running { call, since: now },
                rest: Vec::new(),
                keep: true,
            }),
        );
        1
    }

    /// Gives a busy instance a call in the place of one that ended.
    pub(crate) fn replace(&mut self, id: Instance, ended: CallId, call: CallId, now: Moment) {
        if let Some(Phase::Busy(busy)) = self.phase_mut(id) {
            busy.replace(ended, Running { call, since: now });
        }
    }

    /// Takes a call from a busy instance that has others.
    pub(crate) fn end_one(&mut self, id: Instance, call: CallId) {
        if let Some(Phase::Busy(busy)) = self.phase_mut(id) {
            busy.remove(call);
        }
    }

    /// Makes sure that a busy instance takes no further call.
    pub(crate) fn give_up(&mut self, id: Instance) {
        if let Some(Phase::Busy(busy)) = self.phase_mut(id) {
            busy.keep = false;
        }
    }

    /// Lets a ready instance wait for a call.
    pub(crate) fn rest(&mut self, id: Instance, now: Moment) {
        self.set(
            id,
            Phase::Idle(Idle {
                since: now,
                older: None,
                newer: None,
            }),
        );
    }

    /// From now on it only holds its resources.
    pub(crate) fn stop(&mut self, id: Instance) {
        self.set(id, Phase::Stopping);
    }

    /// Its resources are free.
    pub(crate) fn remove(&mut self, id: Instance) {
        if self.get(id).is_none() {
            return;
        }
        self.leave(place(id));
        self.places[place(id) as usize] = None;
        self.vacant.push(place(id));
    }

    fn phase_mut(&mut self, id: Instance) -> Option<&mut Phase> {
        self.places
            .get_mut(place(id) as usize)?
            .as_mut()
            .filter(|record| record.id == id)
            .map(|record| &mut record.phase)
    }

    /// The one place where a phase changes: sums and the list of idle ones follow.
    fn set(&mut self, id: Instance, next: Phase) {
        if self.get(id).is_none() {
            return;
        }
        self.leave(place(id));
        self.enter(place(id), next);
    }

    fn leave(&mut self, place: u32) {
        let Some(record) = &self.places[place as usize] else {
            return;
        };
        let memory_mb = u64::from(record.memory_mb);
        let links = match &record.phase {
            Phase::Idle(idle) => Some((idle.older, idle.newer)),
            _ => None,
        };
        let tally = self.tallies.of(&record.phase);
        tally.count -= 1;
        tally.memory_mb -= memory_mb;
        if let Some((older, newer)) = links {
            match older {
                Some(older) => self.link(older, |idle| idle.newer = newer),
                None => self.oldest_idle = newer,
            }
            match newer {
                Some(newer) => self.link(newer, |idle| idle.older = older),
                None => self.newest_idle = older,
            }
        }
    }

    fn enter(&mut self, place: u32, mut next: Phase) {
        if let Phase::Idle(idle) = &mut next {
            idle.older = self.newest_idle;
            match self.newest_idle {
                Some(older) => self.link(older, |idle| idle.newer = Some(place)),
                None => self.oldest_idle = Some(place),
            }
            self.newest_idle = Some(place);
        }
        let Some(record) = &mut self.places[place as usize] else {
            return;
        };
        record.phase = next;
        let tally = self.tallies.of(&record.phase);
        tally.count += 1;
        tally.memory_mb += u64::from(record.memory_mb);
    }

    fn link(&mut self, place: u32, change: impl FnOnce(&mut Idle)) {
        if let Some(Some(Record {
            phase: Phase::Idle(idle),
            ..
        })) = self.places.get_mut(place as usize)
        {
            change(idle);
        }
    }
}

/// The low half of an instance's number.
fn place(id: Instance) -> u32 {
    (id.0 & u64::from(u32::MAX)) as u32
}
