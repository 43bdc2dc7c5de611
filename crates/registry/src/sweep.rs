//! Which code may be removed: a pure rule over what is there, what is needed, and the time.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use warren_model::{Digest, Timestamp};

/// How long code stays that this server itself made unneeded: longer than the longest call (15 minutes), which may have begun with it.
pub(crate) const GRACE: Duration = Duration::from_secs(20 * 60);

/// How long code stays that was found unneeded, for a reason that this server does not know: the database may have been put back to an older state, and
/// somebody may be about to mend that.
pub(crate) const FOUND_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// Code that is there and that nothing needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unneeded {
    /// Since when.
    pub(crate) since: Timestamp,
    /// Whether a change by this server's own interfaces made it so.
    pub(crate) own: bool,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    pub(crate) unneeded: HashMap<Digest, Unneeded>,
}

/// What a look found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// What may be removed by now.
    Due(Vec<Digest>),
    /// At least half of what was needed is not any more, and this server did not do that.
    Halved {
        /// How many zips that is.
        lost: usize,
        /// How many zips that are there are needed still.
        needed: usize,
    },
}

impl Sweep {
    /// This server stores it for a change that is not made yet, or takes away its last need; answers whether that was not known.
    pub(crate) fn release(&mut self, digest: Digest, now: Timestamp) -> bool {
        let released = Unneeded {
            since: now,
            own: true,
        };
        let before = self.unneeded.insert(digest, released);
        before.is_none_or(|before| !before.own)
    }

    /// Something refers to it; answers whether it was thought unneeded.
    pub(crate) fn need(&mut self, digest: &Digest) -> bool {
        self.unneeded.remove(digest).is_some()
    }

    /// Compares what is `present` with what versions refer to (`needed`) and what is in use besides (`held`).
    pub(crate) fn look(
        &mut self,
        present: impl IntoIterator<Item = Digest>,
        needed: &HashSet<Digest>,
        held: &HashSet<Digest>,
        now: Timestamp,
    ) -> Found {
        let present: HashSet<Digest> = present.into_iter().collect();
        self.unneeded
            .retain(|digest, _| present.contains(digest) && !needed.contains(digest));
        let (mut due, mut lost) = (Vec::new(), 0);
        for digest in present.difference(needed) {
            match self.unneeded.get_mut(digest) {
                Some(known) if held.contains(digest) => known.since = now,
                Some(known) => {
                    let grace = if known.own { GRACE } else { FOUND_GRACE };
                    if known.since.plus(grace) <= now {
                        due.push(*digest);
                    }
                }
                None if held.contains(digest) => {}
                None => {
                    lost += 1;
                    let found = Unneeded {
                        since: now,
                        own: false,
                    };
                    self.unneeded.insert(*digest, found);
                }
            }
        }
        let needed = present.intersection(needed).count();
        match lost > 0 && lost >= needed {
            true => Found::Halved { lost, needed },
            false => Found::Due(due),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(count: u8) -> Vec<Digest> {
        (0..count).map(|n| Digest::of(&[n])).collect()
    }

    fn set(digests: &[Digest]) -> HashSet<Digest> {
        digests.iter().copied().collect()
    }

    /// All are present, these are needed.
    fn look(sweep: &mut Sweep, needed: &[Digest], now: Timestamp) -> Found {
        sweep.look(digests(10), &set(needed), &HashSet::new(), now)
    }

    #[test]
    fn waits_a_day_from_the_last_need_for_what_was_found() {
        let (all, start) = (digests(10), Timestamp::from_millis(0));
        let (mut sweep, at) = (Sweep::default(), |seconds| {
            start.plus(Duration::from_secs(seconds))
        });
        let day = FOUND_GRACE.as_secs();
        let none = || Found::Due(Vec::new());
        assert_eq!(look(&mut sweep, &all[1..], at(0)), none());
        assert_eq!(look(&mut sweep, &all[1..], at(day - 1)), none());
        assert_eq!(look(&mut sweep, &all, at(day)), none());
        assert_eq!(look(&mut sweep, &all[1..], at(day + 1)), none());
        assert_eq!(look(&mut sweep, &all[1..], at(2 * day)), none());
        let due = Found::Due(vec![all[0]]);
        assert_eq!(look(&mut sweep, &all[1..], at(2 * day + 1)), due);
    }

    #[test]
    fn what_this_server_released_waits_for_calls_alone() {
        let (all, start) = (digests(10), Timestamp::from_millis(0));
        let mut sweep = Sweep::default();
        for digest in &all {
            sweep.release(*digest, start);
        }
        assert_eq!(look(&mut sweep, &[], start), Found::Due(Vec::new()));
        let held = set(&all[..1]);
        let found = sweep.look(all.clone(), &HashSet::new(), &held, start.plus(GRACE));
        assert!(
            matches!(&found, Found::Due(due) if due.len() == 9),
            "{found:?}"
        );
        // Needed again in between, and lost in a way that nobody knows.
        sweep.need(&all[9]);
        look(&mut sweep, &[], start.plus(GRACE));
        assert!(!sweep.unneeded[&all[9]].own);
    }

    #[test]
    fn a_needed_set_that_is_halved_or_gone_is_told_once() {
        for (needed, halved) in [(0, true), (5, true), (6, false), (10, false)] {
            let (all, mut sweep) = (digests(10), Sweep::default());
            let now = Timestamp::from_millis(0);
            let found = look(&mut sweep, &all[..needed], now);
            assert_eq!(
                matches!(found, Found::Halved { .. }),
                halved,
                "{needed}: {found:?}"
            );
            let again = look(&mut sweep, &all[..needed], now);
            assert_eq!(again, Found::Due(Vec::new()), "{needed}");
        }
    }
}
