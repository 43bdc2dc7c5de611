//! How much each sandbox may ask.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// Questions of one sandbox that are under way at one time.
const UNDER_WAY: u32 = 32;
/// Questions that one sandbox may ask at once, and in each second after that.
const BURST: u32 = 200;
const EACH: Duration = Duration::from_millis(10);
/// Sandboxes that are remembered before those that have not asked for long are forgotten.
const REMEMBERED: usize = 1024;

/// Who asks.
#[derive(Debug, Default)]
pub(crate) struct Askers(Mutex<HashMap<IpAddr, Asker>>);

#[derive(Debug)]
struct Asker {
    under_way: u32,
    /// The moment at which all of its burst would be there again.
    full_at: Instant,
}

/// A question under way.
#[derive(Debug)]
pub(crate) struct Turn {
    askers: Arc<Askers>,
    who: IpAddr,
}

impl Askers {
    /// None: it asks too much, and is not heard.
    pub(crate) fn begin(self: &Arc<Self>, who: IpAddr, now: Instant) -> Option<Turn> {
        let mut askers = self.all();
        if askers.len() >= REMEMBERED {
            askers.retain(|_, asker| asker.under_way > 0 || asker.full_at > now);
        }
        let asker = askers.entry(who).or_insert(Asker {
            under_way: 0,
            full_at: now,
        });
        let full_at = asker.full_at.max(now) + EACH;
        if asker.under_way >= UNDER_WAY || full_at > now + EACH * BURST {
            return None;
        }
        asker.full_at = full_at;
        asker.under_way += 1;
        Some(Turn {
            askers: Arc::clone(self),
            who,
        })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<IpAddr, Asker>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(asker) = self.askers.all().get_mut(&self.who) {
            asker.under_way -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sandbox_does_not_take_the_turns_of_others() {
        let askers = Arc::new(Askers::default());
        let (one, other) = ([100, 96, 0, 1].into(), [100, 96, 0, 2].into());
        let now = Instant::now();
        let turns: Vec<_> = std::iter::from_fn(|| askers.begin(one, now)).collect();
        assert_eq!(turns.len(), 32);
        assert!(askers.begin(other, now).is_some());
        drop(turns);
        assert!(askers.begin(one, now).is_some());
    }

    #[test]
    fn a_burst_comes_back_with_time() {
        let askers = Arc::new(Askers::default());
        let who = [100, 96, 0, 1].into();
        let now = Instant::now();
        let asked = |now| std::iter::from_fn(|| askers.begin(who, now).map(drop)).count();
        assert_eq!(asked(now), 200);
        assert_eq!(asked(now + Duration::from_secs(1)), 100);
        assert_eq!(asked(now + Duration::from_secs(60)), 200);
    }
}
