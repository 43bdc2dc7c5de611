//! How many sandboxes to have started ahead, and of which kind: a pure state machine beside the scheduler, which knows nothing of it.
//!
//! A *stem* is a sandbox that belongs to no function yet. Kinds (`K`) are what a stem can't change any more, such as engine and language. One stem of each kind that
//! a function could use is kept, more of those that are taken often, all within a budget of memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use warren_model::EngineName;

use crate::Moment;

/// After so long without another, a taken stem counts half.
const HALF_LIFE_S: f64 = 10.0;
/// Most stems of one kind.
const MOST: usize = 8;
/// Pause after a failed start; doubled with each that follows, up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A stem that has lived for so long proves that its kind can, as one does that is taken.
const PROVEN: Duration = Duration::from_secs(60);

/// What kinds have to tell of themselves.
pub trait OnEngine {
    /// What starts stems of this kind: starts on one engine don't wait for those of another.
    fn engine(&self) -> EngineName;
}

/// One stem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StemId(pub u64);

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StemAction<K> {
    /// Start one. Answered by [`Stems::started`] or [`Stems::failed`].
    Start {
        /// Which it will be.
        stem: StemId,
        /// What it shall be like.
        kind: K,
    },
    /// End one that was started; it is not in the pool any more.
    Stop {
        /// Which.
        stem: StemId,
    },
}

/// Bounds of all stems together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StemSettings {
    /// Bytes that stems may hold together. 0: there are none.
    pub budget: u64,
    /// Bytes that a stem is taken to hold before one of its kind was measured.
    pub guess: u64,
    /// Stems that may start at the same time, per engine.
    pub starts: usize,
}

/// The stems of one host.
#[derive(Debug)]
pub struct Stems<K> {
    settings: StemSettings,
    kinds: BTreeMap<K, Kind>,
    stems: BTreeMap<StemId, Stem<K>>,
    last: u64,
}

#[derive(Debug, Default)]
struct Kind {
    /// How many were taken lately, at `at`; it halves with time.
    taken: f64,
    at: Moment,
    /// The most that a stem of it was seen to hold.
    bytes: Option<u64>,
    /// Starts that failed and stems that ended by themselves, since one was taken or has lived long enough.
    failures: u32,
    /// No start before.
    not_before: Moment,
}

#[derive(Debug)]
struct Stem<K> {
    kind: K,
    /// None while it starts.
    ready: Option<Moment>,
}

impl Kind {
    fn taken_lately(&self, now: Moment) -> f64 {
        let passed = seconds(now) - seconds(self.at);
        self.taken * (-passed.max(0.0) / HALF_LIFE_S).exp2()
    }

    /// Stems that it should have: one, and as many as were taken lately.
    fn wanted(&self, now: Moment) -> usize {
        // Small and not negative.
        (1 + self.taken_lately(now) as usize).min(MOST)
    }
}

fn seconds(moment: Moment) -> f64 {
    moment.0 as f64 / 1e6
}

impl<K: OnEngine + Clone + Ord> Stems<K> {
    /// No kinds, no stems.
    pub fn new(settings: StemSettings) -> Self {
        Self {
            settings,
            kinds: BTreeMap::new(),
            stems: BTreeMap::new(),
            last: 0,
        }
    }

    /// These are the kinds that functions could use, and no others.
    pub fn follow(&mut self, kinds: BTreeSet<K>) {
        self.kinds.retain(|kind, _| kinds.contains(kind));
        for kind in kinds {
            self.kinds.entry(kind).or_default();
        }
    }

    /// A function needs one: gives the oldest that is ready, and it is not in the pool any more. None: there is none, which counts as well.
    pub fn take(&mut self, kind: &K, now: Moment) -> Option<StemId> {
        let found = self
            .stems
            .iter()
            .find(|(_, stem)| stem.ready.is_some() && stem.kind == *kind);
        let found = found.map(|(stem, _)| *stem);
        if let Some(known) = self.kinds.get_mut(kind) {
            known.taken = known.taken_lately(now) + 1.0;
            known.at = now;
            if found.is_some() {
                known.failures = 0;
            }
        }
        self.stems.remove(&found?);
        found
    }

    /// A start has succeeded; the stem holds this much memory, if that is known. Whether it is still wanted: if not it is to be ended, and is not in the
    /// pool.
    pub fn started(&mut self, stem: StemId, bytes: Option<u64>, now: Moment) -> bool {
        let Some(found) = self.stems.get_mut(&stem) else {
            return false;
        };
        let Some(kind) = self.kinds.get_mut(&found.kind) else {
            self.stems.remove(&stem);
            return false;
        };
        found.ready = Some(now);
        kind.bytes = kind.bytes.max(bytes);
        true
    }

    /// A start has failed.
    pub fn failed(&mut self, stem: StemId, now: Moment) {
        let Some(found) = self.stems.remove(&stem) else {
            return;
        };
        if let Some(kind) = self.kinds.get_mut(&found.kind) {
            let pause = PAUSE * 2_u32.saturating_pow(kind.failures.min(16));
            kind.failures += 1;
            kind.not_before = now.plus(pause.min(LONGEST_PAUSE));
        }
    }

    /// A stem that was ready has ended by itself; as a failed start, so that kinds whose stems die are tried less and less.
    pub fn lost(&mut self, stem: StemId, now: Moment) {
        self.failed(stem, now);
    }

    /// Forgets all stems; gives those that were ready, to be ended.
    pub fn clear(&mut self) -> Vec<StemId> {
        self.kinds.clear();
        let all = std::mem::take(&mut self.stems);
        let ready = all.into_iter().filter(|(_, stem)| stem.ready.is_some());
        ready.map(|(stem, _)| stem).collect()
    }

    /// What to do now. Gives when to ask again if nothing happens before.
    pub fn plan(&mut self, now: Moment, actions: &mut Vec<StemAction<K>>) -> Option<Moment> {
        self.forgive(now);
        let shares = self.shares(now);
        self.stop_surplus(&shares, actions);
        let mut wake = None;
        for (kind, share) in shares {
            let not_before = self.kinds[&kind].not_before;
            for _ in self.count(&kind)..share {
                if not_before > now {
                    let earliest = wake.map_or(not_before, |wake: Moment| wake.min(not_before));
                    wake = Some(earliest);
                    break;
                }
                if self.starting_on(kind.engine()) >= self.settings.starts {
                    break;
                }
                self.last += 1;
                let stem = StemId(self.last);
                let kind = kind.clone();
                self.stems.insert(
                    stem,
                    Stem {
                        kind: kind.clone(),
                        ready: None,
                    },
                );
                actions.push(StemAction::Start { stem, kind });
            }
        }
        // Demand fades.
        let fading = self.kinds.values().any(|kind| kind.wanted(now) > 1);
        let soon = now.plus(Duration::from_secs_f64(HALF_LIFE_S / 4.0));
        match (wake, fading) {
            (Some(wake), true) => Some(wake.min(soon)),
            (wake, false) => wake,
            (None, true) => Some(soon),
        }
    }

    /// Forgets the failures of kinds that have proved since that they can live.
    fn forgive(&mut self, now: Moment) {
        for stem in self.stems.values() {
            if stem.ready.is_some_and(|since| since.plus(PROVEN) <= now)
                && let Some(kind) = self.kinds.get_mut(&stem.kind)
            {
                kind.failures = 0;
            }
        }
    }

    /// How many of each kind the budget has room for, those that were taken most first; one of each kind comes before a second of any.
    fn shares(&self, now: Moment) -> Vec<(K, usize)> {
        let mut order: Vec<(&K, &Kind)> = self.kinds.iter().collect();
        order.sort_by(|(_, a), (_, b)| b.taken_lately(now).total_cmp(&a.taken_lately(now)));
        let mut left = self.settings.budget;
        let mut shares: Vec<(K, usize)> =
            order.iter().map(|(kind, _)| ((*kind).clone(), 0)).collect();
        for round in 0..MOST {
            for ((_, kind), (_, share)) in order.iter().zip(&mut shares) {
                let bytes = kind.bytes.unwrap_or(self.settings.guess).max(1);
                if *share == round && kind.wanted(now) > round && bytes <= left {
                    left -= bytes;
                    *share += 1;
                }
            }
        }
        shares
    }

    fn stop_surplus(&mut self, shares: &[(K, usize)], actions: &mut Vec<StemAction<K>>) {
        let mut kept: BTreeMap<&K, usize> = BTreeMap::new();
        let shares: BTreeMap<&K, usize> =
            shares.iter().map(|(kind, share)| (kind, *share)).collect();
        let mut surplus = Vec::new();
        for (stem, found) in &self.stems {
            let kept = kept.entry(&found.kind).or_default();
            *kept += 1;
            // One that starts is told when it has started.
            if *kept > shares.get(&found.kind).copied().unwrap_or(0) && found.ready.is_some() {
                surplus.push(*stem);
            }
        }
        for stem in surplus {
            self.stems.remove(&stem);
            actions.push(StemAction::Stop { stem });
        }
    }

    fn count(&self, kind: &K) -> usize {
        self.stems
            .values()
            .filter(|stem| stem.kind == *kind)
            .count()
    }

    fn starting_on(&self, engine: EngineName) -> usize {
        self.stems
            .values()
            .filter(|stem| stem.ready.is_none() && stem.kind.engine() == engine)
            .count()
    }

    /// Stems that are ready.
    pub fn ready(&self) -> usize {
        self.stems
            .values()
            .filter(|stem| stem.ready.is_some())
            .count()
    }
}

#[cfg(test)]
mod tests;
