use warren_store::{Counted, PlacedCall};

/// How many records the store has: counted from the latest down, step by step, while others come and go.
///
/// ```text
///   oldest ◄── not counted yet ──┤ from: counted, with what came here since ──► latest
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    number: u64,
    /// Those from this place on are counted; all are if it is the least one.
    from: i64,
}

impl Tally {
    /// Nothing is counted yet.
    pub(super) const BLANK: Self = Self {
        number: 0,
        from: i64::MAX,
    };

    /// How many there are, once all are counted.
    pub(super) fn whole(&self) -> Option<u64> {
        (self.from == i64::MIN).then_some(self.number)
    }

    /// Those from this place on are counted.
    pub(super) fn from(&self) -> i64 {
        self.from
    }

    /// Takes in a step of so many at most from [`from`](Self::from) down.
    pub(super) fn counted(&mut self, step: Counted, most: u32) {
        self.number += step.number;
        self.from = match step.from {
            Some(from) if step.number >= u64::from(most) => from,
            _ => i64::MIN,
        };
    }

    /// These were written, of which so many had not been there.
    pub(super) fn added(&mut self, calls: &[PlacedCall], new: u64) {
        if self.whole().is_some() || new == 0 {
            self.number += new;
        } else if new == calls.len() as u64 {
            let counted = calls.iter().filter(|placed| placed.id >= self.from);
            self.number += counted.count() as u64;
        } else {
            // Which of them are new is not known.
            *self = Self::BLANK;
        }
    }

    /// Whether a place lies among what is counted, and not all is.
    pub(super) fn is_amid(&self, place: i64) -> bool {
        self.whole().is_none() && place > self.from
    }

    /// So many of the oldest were removed. While not all are counted, none that was may be among them: see [`is_amid`](Self::is_amid).
    pub(super) fn removed(&mut self, number: u64) {
        if self.whole().is_some() {
            self.number = self.number.saturating_sub(number);
        }
    }
}
