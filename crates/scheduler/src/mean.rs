/// An exponentially weighted mean of durations in microseconds; each new one counts for one part in `WEIGHT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mean<const WEIGHT: u64> {
    /// The mean times `WEIGHT`, so that nothing is lost by rounding.
    weighted: u64,
}

/// Of calls: an eighth of each new one, so that one slow call among fast ones doesn't start instances.
pub(crate) type CallMean = Mean<8>;
/// Of starts: a quarter of each new one, as there are few.
pub(crate) type StartMean = Mean<4>;

impl<const WEIGHT: u64> Mean<WEIGHT> {
    pub(crate) fn new(micros: u64) -> Self {
        Self {
            weighted: micros.saturating_mul(WEIGHT),
        }
    }

    pub(crate) fn add(&mut self, micros: u64) {
        let kept = self.weighted - self.weighted / WEIGHT;
        self.weighted = kept.saturating_add(micros);
    }

    /// Whole microseconds, 1 at least, so that it can divide.
    pub(crate) fn micros(self) -> u64 {
        (self.weighted / WEIGHT).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_what_is_added() {
        let mut mean = CallMean::new(100);
        for _ in 0..100 {
            mean.add(100_000);
        }
        assert!((99_000..=100_000).contains(&mean.micros()), "{mean:?}");
        for _ in 0..100 {
            mean.add(0);
        }
        assert!((1..10).contains(&mean.micros()), "{mean:?}");
    }

    #[test]
    fn one_outlier_counts_an_eighth() {
        let mut mean = CallMean::new(800);
        mean.add(8_800);
        assert_eq!(mean.micros(), 1_800);
    }
}
