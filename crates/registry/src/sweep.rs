//! Which code may be removed: a pure rule over what is there, what is needed, and the time.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use warren_model::{Digest, Timestamp};

/// How long code stays that nothing refers to: longer than the longest call (15 minutes), which may have begun with it.
pub(crate) const GRACE: Duration = Duration::from_secs(20 * 60);

/// Since when code is there that nothing needs.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    unneeded_since: HashMap<Digest, Timestamp>,
}

impl Sweep {
    /// Of what is `present`, all that was not `needed` for `grace`.
    pub(crate) fn due(
        &mut self,
        present: impl IntoIterator<Item = Digest>,
        needed: &HashSet<Digest>,
        now: Timestamp,
        grace: Duration,
    ) -> Vec<Digest> {
        let unneeded: HashSet<Digest> = present
            .into_iter()
            .filter(|digest| !needed.contains(digest))
            .collect();
        self.unneeded_since
            .retain(|digest, _| unneeded.contains(digest));
        unneeded
            .into_iter()
            .filter(|digest| {
                let since = *self.unneeded_since.entry(*digest).or_insert(now);
                since.plus(grace) <= now
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_the_grace_from_the_last_need() {
        let digest = Digest::of(b"x");
        let (none, needed) = (HashSet::new(), HashSet::from([digest]));
        let grace = Duration::from_millis(10);
        let mut sweep = Sweep::default();
        let mut due = |needed, now| {
            sweep
                .due([digest], needed, Timestamp::from_millis(now), grace)
                .len()
        };
        assert_eq!(due(&none, 0), 0);
        assert_eq!(due(&none, 9), 0);
        assert_eq!(due(&needed, 10), 0);
        assert_eq!(due(&none, 11), 0);
        assert_eq!(due(&none, 20), 0);
        assert_eq!(due(&none, 21), 1);
    }
}
