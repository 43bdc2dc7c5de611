//! How often each sandbox may ask.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// Questions that one sandbox may ask at once, and in each second after that.
const BURST: u32 = 200;
const EACH: Duration = Duration::from_millis(10);
/// Sandboxes that are remembered before those that have not asked for long are forgotten.
const REMEMBERED: usize = 1024;

/// Who asks, and the moment at which all of its burst would be there again.
#[derive(Debug, Default)]
pub(crate) struct Askers(Mutex<HashMap<IpAddr, Instant>>);

impl Askers {
    /// Counts a question; false: it asks too much, and is not heard.
    pub(crate) fn heard(&self, who: IpAddr, now: Instant) -> bool {
        let mut askers = self.all();
        if askers.len() >= REMEMBERED {
            askers.retain(|_, full_at| *full_at > now);
        }
        let full_at = askers.entry(who).or_insert(now);
        let next = (*full_at).max(now) + EACH;
        if next > now + EACH * BURST {
            return false;
        }
        *full_at = next;
        true
    }

    fn all(&self) -> MutexGuard<'_, HashMap<IpAddr, Instant>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_comes_back_with_time() {
        let askers = Askers::default();
        let (who, other) = ([100, 96, 0, 1].into(), [100, 96, 0, 2].into());
        let now = Instant::now();
        let asked = |now| (0..1000).filter(|_| askers.heard(who, now)).count();
        assert_eq!(asked(now), 200);
        assert!(askers.heard(other, now));
        assert_eq!(asked(now + Duration::from_secs(1)), 100);
        assert_eq!(asked(now + Duration::from_secs(60)), 200);
    }
}
