//! The one task that writes records, and removes those that are too old or too many.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use warren_model::{CallRecord, chain};
use warren_store::{PlacedCall, RecordStore, StoreError, place};

use super::{Retention, counts::Counts};

/// Most records of one transaction.
const BATCH: usize = 2_048;
/// How long a batch that is not full is waited for.
const GATHER: Duration = Duration::from_millis(100);
/// How long the store may fail before records are dropped: a restart of the database fits into it.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries of one batch.
const RETRY: Duration = Duration::from_millis(250);
/// Between looks whether records are too old.
const LOOK: Duration = Duration::from_secs(1);
/// Between removals of what no record refers to.
const SWEEP: Duration = Duration::from_secs(3_600);
/// Records removed in one transaction: some milliseconds.
const STEP: u32 = 1_000;
/// Removals between two batches.
const STEPS: u32 = 8;

/// What the writer gets.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are calls, and a box for each would be an allocation for each"
)]
#[derive(Debug)]
pub(super) enum Item {
    Call(CallRecord),
    /// Told once everything before it is written or dropped.
    Flush(oneshot::Sender<()>),
}

pub(super) struct Writer {
    items: mpsc::Receiver<Item>,
    hurry: Arc<Notify>,
    store: Arc<dyn RecordStore>,
    retention: Retention,
    patience: Duration,
    counts: Arc<Counts>,
    /// Tells records of one microsecond apart.
    number: u64,
    /// How many the store has; none until they were counted.
    held: Option<u64>,
    /// Since when the store fails.
    failing: Option<Instant>,
    /// When the oldest record was found to be young enough, and when sources were swept.
    looked: Instant,
    swept: Instant,
}

impl Writer {
    pub(super) fn new(
        items: mpsc::Receiver<Item>,
        hurry: Arc<Notify>,
        store: Arc<dyn RecordStore>,
        retention: Retention,
        patience: Duration,
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            items,
            hurry,
            store,
            retention,
            patience,
            counts,
            number: 0,
            held: None,
            failing: None,
            looked: Instant::now(),
            swept: Instant::now(),
        }
    }

    /// Until every handle is gone.
    pub(super) async fn run(mut self) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut items = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                received = self.items.recv_many(&mut items, BATCH) => match received {
                    0 => return,
                    _ => self.batch(&mut items).await,
                },
                _ = look.tick() => {}
            }
            if let Err(error) = self.retain().await {
                // Counted anew: what the failed step did is not known.
                self.held = None;
                tracing::debug!(
                    error = chain(&error),
                    "old records could not be removed; tried again"
                );
            }
        }
    }

    /// Waits a moment for more, and writes all.
    async fn batch(&mut self, items: &mut Vec<Item>) {
        let asked = items.iter().any(|item| matches!(item, Item::Flush(_)));
        if !asked && items.len() < BATCH {
            // The task is woken once for all that comes meanwhile.
            tokio::select! {
                () = sleep(GATHER) => {}
                () = self.hurry.notified() => {}
            }
        }
        while items.len() < BATCH
            && let Ok(item) = self.items.try_recv()
        {
            items.push(item);
        }
        let mut calls = Vec::with_capacity(items.len());
        let mut asked = Vec::new();
        for item in items.drain(..) {
            match item {
                Item::Call(call) => {
                    self.number += 1;
                    let id = place(call.arrived_us, self.number);
                    calls.push(PlacedCall { id, call });
                }
                Item::Flush(done) => asked.push(done),
            }
        }
        // Rows at the end of their table are the cheapest to add.
        calls.sort_unstable_by_key(|placed| placed.id);
        if !calls.is_empty() {
            self.write(&calls).await;
        }
        for done in asked {
            // Who asked may have given up.
            let _ = done.send(());
        }
    }

    /// Writes a batch, or drops it where the store fails for too long.
    async fn write(&mut self, calls: &[PlacedCall]) {
        loop {
            let error = match self.store.keep(calls).await {
                Ok(new) => {
                    self.counts.kept(calls.len());
                    self.held = self.held.map(|held| held + new);
                    if self.failing.take().is_some() {
                        self.counts.set_failing(false);
                        let dropped = self.counts.now().store_away;
                        tracing::info!(dropped, "calls are recorded again");
                    }
                    return;
                }
                Err(error) => error,
            };
            let since = *self.failing.get_or_insert_with(|| {
                tracing::warn!(
                    error = chain(&error),
                    "calls can't be recorded: they go on, and their records are dropped and counted if this lasts"
                );
                Instant::now()
            });
            self.counts.set_failing(true);
            if since.elapsed() >= self.patience {
                self.counts.store_away(calls.len());
                return;
            }
            sleep(RETRY).await;
        }
    }

    /// Removes a few records that are too many or too old.
    async fn retain(&mut self) -> Result<(), StoreError> {
        if self.failing.is_some() {
            return Ok(());
        }
        let mut held = match self.held {
            Some(held) => held,
            None => self.store.count().await?,
        };
        let oldest = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .saturating_sub(self.retention.age);
        let oldest = place(u64::try_from(oldest.as_micros()).unwrap_or(0), 0);
        for _ in 0..STEPS {
            let over = held.saturating_sub(self.retention.number);
            let removed = match u32::try_from(over).unwrap_or(u32::MAX).min(STEP) {
                0 if self.looked.elapsed() < LOOK => break,
                0 => self.store.remove_before(oldest, STEP).await?,
                over => self.store.remove_before(i64::MAX, over).await?,
            };
            held = held.saturating_sub(removed);
            if removed == 0 {
                self.looked = Instant::now();
                break;
            }
        }
        self.held = Some(held);
        if self.swept.elapsed() >= SWEEP {
            self.swept = Instant::now();
            self.store.sweep().await?;
        }
        Ok(())
    }
}
