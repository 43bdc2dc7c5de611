use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What became of the records since the server's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordCounts {
    /// Written.
    pub kept: u64,
    /// Dropped: the queue was full.
    pub no_room: u64,
    /// Dropped: the store was away, or can't hold them.
    pub store_away: u64,
    /// Never made: the task that ran the call ended before it.
    pub lost: u64,
    /// Whether the store fails now.
    pub failing: bool,
}

impl RecordCounts {
    /// All that are missing.
    pub fn missing(self) -> u64 {
        self.no_room + self.store_away + self.lost
    }
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Calls that were put into the queue.
    taken: AtomicU64,
    kept: AtomicU64,
    no_room: AtomicU64,
    store_away: AtomicU64,
    lost: AtomicU64,
    failing: AtomicBool,
}

impl Counts {
    pub(super) fn taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Those that wait in the queue or are in the writer's hands.
    pub(super) fn waiting(&self) -> u64 {
        let now = self.now();
        let taken = self.taken.load(Ordering::Relaxed);
        taken.saturating_sub(now.kept + now.store_away)
    }

    pub(super) fn kept(&self, records: usize) {
        self.kept.fetch_add(records as u64, Ordering::Relaxed);
    }

    pub(super) fn no_room(&self) {
        self.no_room.fetch_add(1, Ordering::Relaxed);
    }

    /// The store was away, or refused them.
    pub(super) fn dropped(&self, records: usize) {
        self.store_away.fetch_add(records as u64, Ordering::Relaxed);
    }

    pub(super) fn lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> RecordCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RecordCounts {
            kept: of(&self.kept),
            no_room: of(&self.no_room),
            store_away: of(&self.store_away),
            lost: of(&self.lost),
            failing: self.failing.load(Ordering::Relaxed),
        }
    }
}
