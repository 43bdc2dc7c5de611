//! User ids of sandboxes on the host: a range of its own for each instance, so that no limit that the kernel keeps by user is shared by two functions.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard},
};

/// Ids of one range: all that a sandbox has inside.
pub(crate) const RANGE: u32 = 65_536;
/// The first id of the first range. Below it are those of people, services and containers, above 2^31 programs take ids for negative numbers (systemd,
/// "Users, Groups, UIDs and GIDs").
const FIRST: u32 = 0x7000_0000;
/// Ranges there are.
const RANGES: u32 = 0x1000_0000 / RANGE;

/// Ranges that are in use.
#[derive(Debug, Default)]
pub(crate) struct Ids(Mutex<BTreeSet<u32>>);

impl Ids {
    /// A free range, by its first id; none if thousands are in use.
    pub(crate) fn take(&self) -> Option<u32> {
        let mut used = self.used();
        let free = (0..RANGES).find(|number| !used.contains(number))?;
        used.insert(free);
        Some(FIRST + free * RANGE)
    }

    /// Nobody runs with its ids any more.
    pub(crate) fn give_back(&self, first: u32) {
        self.used().remove(&((first - FIRST) / RANGE));
    }

    fn used(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_do_not_overlap_and_are_used_again() {
        let ids = Ids::default();
        let (first, second) = (ids.take().unwrap(), ids.take().unwrap());
        assert_eq!(second - first, RANGE);
        ids.give_back(first);
        assert_eq!(ids.take(), Some(first));
        let last = std::iter::from_fn(|| ids.take()).last().unwrap();
        assert!(last.checked_add(RANGE).is_some_and(|end| end <= 1 << 31));
        assert_eq!(ids.take(), None);
    }
}
