//! Something of which there is a number for all sandboxes, shared so that a few of them can't have all of it.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
};

/// A sandbox may have this part of what is still free: the fewer are left, the fewer has each.
const PART: usize = 8;
/// This part of the whole is kept for sandboxes that have less than a few. Two: clients ask for a name's IPv4 and IPv6 addresses at once.
const KEPT: usize = 4;
const FEW: usize = 2;

/// The whole, and who has how much of it.
#[derive(Debug)]
pub(crate) struct Shares {
    /// Of one sandbox, and of all.
    most_each: usize,
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    each: HashMap<IpAddr, usize>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Arc<Shares>,
    who: IpAddr,
}

impl Shares {
    pub(crate) fn new(most_each: usize, most: usize) -> Arc<Self> {
        Arc::new(Self {
            most_each,
            most,
            taken: Mutex::default(),
        })
    }

    /// None: it has its part already.
    pub(crate) fn take(self: &Arc<Self>, who: IpAddr) -> Option<Share> {
        let mut taken = self.taken();
        let free = self.most.saturating_sub(taken.all);
        let own = taken.each.get(&who).copied().unwrap_or(0);
        let open = match own < FEW {
            true => free > 0,
            false => own < self.most_each && own * PART <= free.saturating_sub(self.most / KEPT),
        };
        if !open {
            return None;
        }
        taken.all += 1;
        taken.each.insert(who, own + 1);
        Some(Share {
            shares: Arc::clone(self),
            who,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        taken.all = taken.all.saturating_sub(1);
        let own = taken.each.get(&self.who).copied().unwrap_or(0);
        if own > 1 {
            taken.each.insert(self.who, own - 1);
        } else {
            taken.each.remove(&self.who);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_of(shares: &Arc<Shares>, last: u8) -> Vec<Share> {
        std::iter::from_fn(|| shares.take([100, 96, 0, last].into())).collect()
    }

    #[test]
    fn one_sandbox_has_its_most_and_gives_it_back() {
        let shares = Shares::new(32, 512);
        for _ in 0..2 {
            assert_eq!(all_of(&shares, 1).len(), 32);
        }
        assert_eq!(shares.taken().all, 0);
        assert!(shares.taken().each.is_empty());
    }

    #[test]
    fn many_that_take_all_they_can_leave_some_to_others() {
        let shares = Shares::new(32, 512);
        // Sixteen of them could have had all.
        let greedy: Vec<_> = (1..=60).map(|last| all_of(&shares, last)).collect();
        let other = [100, 98, 0, 1].into();
        let modest = [shares.take(other), shares.take(other)];
        assert!(modest.iter().all(Option::is_some));
        drop(greedy);
    }
}
