//! Removes records that are too old or too many. Each step is short, so that whoever writes between them is not held up, however many there are.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;
use warren_model::chain;
use warren_store::{PlacedCall, RecordStore, StoreError, place};

use super::{Retention, tally::Tally};

/// Between looks whether records are too old.
const LOOK: Duration = Duration::from_secs(1);
/// Before the next step where there is more to do.
const SOON: Duration = Duration::from_millis(10);
/// Between removals of what no record refers to.
const SWEEP: Duration = Duration::from_secs(3_600);
/// Rows removed in one transaction: some milliseconds.
const STEP: u32 = 1_000;
/// Removals of records between two batches.
const STEPS: u32 = 8;
/// Records counted at once: some milliseconds.
const COUNT: u32 = 50_000;
/// Longest pause after a step that failed; the first is [`LOOK`].
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

pub(super) struct Retainer {
    store: Arc<dyn RecordStore>,
    retention: Retention,
    /// Until all are counted, only age removes.
    tally: Tally,
    /// When the oldest record was found to be young enough, and when sources were swept.
    looked: Instant,
    swept: Instant,
    /// There was more to do after the last step.
    more: bool,
    /// After a failure, no step before this moment.
    paused: Option<(Instant, Duration)>,
}

impl Retainer {
    pub(super) fn new(store: Arc<dyn RecordStore>, retention: Retention) -> Self {
        Self {
            store,
            retention,
            tally: Tally::BLANK,
            looked: Instant::now(),
            swept: Instant::now(),
            more: true,
            paused: None,
        }
    }

    /// These were written, of which so many had not been there.
    pub(super) fn added(&mut self, calls: &[PlacedCall], new: u64) {
        self.tally.added(calls, new);
    }

    /// Whether some were written is not known: they are counted anew.
    pub(super) fn doubt(&mut self) {
        self.tally = Tally::BLANK;
    }

    /// How long until the next step is due.
    pub(super) fn rest(&self) -> Duration {
        match self.paused {
            Some((end, _)) => end.saturating_duration_since(Instant::now()),
            None if self.more => SOON,
            None => LOOK,
        }
    }

    /// Takes the steps that are due. After a failure it does so after a pause.
    pub(super) async fn step(&mut self) {
        let pause = match self.paused {
            Some((end, _)) if Instant::now() < end => return,
            Some((_, pause)) => (pause * 2).min(LONGEST_PAUSE),
            None => LOOK,
        };
        match self.work().await {
            Ok(more) => {
                self.more = more;
                self.paused = None;
            }
            Err(error) => {
                // What the failed step did is not known.
                self.doubt();
                self.paused = Some((Instant::now() + pause, pause));
                tracing::debug!(
                    error = chain(&error),
                    ?pause,
                    "old records could not be removed; tried again"
                );
            }
        }
    }

    /// Whether there is more to do.
    async fn work(&mut self) -> Result<bool, StoreError> {
        if self.remove().await? {
            return Ok(true);
        }
        if self.tally.whole().is_none() {
            let step = self.store.count_before(self.tally.from(), COUNT).await?;
            self.tally.counted(step, COUNT);
            return Ok(true);
        }
        if self.swept.elapsed() < SWEEP {
            return Ok(false);
        }
        if self.store.sweep(STEP).await? < u64::from(STEP) {
            self.swept = Instant::now();
            return Ok(false);
        }
        Ok(true)
    }

    /// Removes a few records; whether there may be more to remove.
    async fn remove(&mut self) -> Result<bool, StoreError> {
        let oldest = self.oldest();
        for _ in 0..STEPS {
            let held = self.tally.whole().unwrap_or(0);
            let over = held.saturating_sub(self.retention.number);
            let removed = match u32::try_from(over).unwrap_or(u32::MAX).min(STEP) {
                0 if self.looked.elapsed() < LOOK || self.tally.is_amid(oldest) => {
                    return Ok(false);
                }
                0 => self.store.remove_before(oldest, STEP).await?,
                over => self.store.remove_before(i64::MAX, over).await?,
            };
            self.tally.removed(removed);
            if removed == 0 {
                self.looked = Instant::now();
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The place of the oldest record that is young enough.
    fn oldest(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let oldest = now.unwrap_or_default().saturating_sub(self.retention.age);
        place(u64::try_from(oldest.as_micros()).unwrap_or(0), 0)
    }
}
