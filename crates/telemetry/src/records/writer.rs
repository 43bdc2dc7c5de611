//! The one task that writes records; between its batches, those that are too old or too many are removed.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, sleep},
};
use warren_model::{CallRecord, chain};
use warren_store::{PlacedCall, RecordStore, StoreError, place};

use super::{Retention, counts::Counts, retainer::Retainer};

/// Most records of one transaction.
const BATCH: usize = 2_048;
/// How long a batch that is not full is waited for.
const GATHER: Duration = Duration::from_millis(100);
/// How long the store may fail before records are dropped: a restart of the database fits into it.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries of one batch.
const RETRY: Duration = Duration::from_millis(250);
/// Between two log lines about records that can't be held: a function may bring about many.
const TELL: Duration = Duration::from_secs(60);

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
    retainer: Retainer,
    patience: Duration,
    counts: Arc<Counts>,
    /// Tells records of one microsecond apart.
    number: u64,
    /// Since when the store fails.
    failing: Option<Instant>,
    /// When the log last told of a record that can't be held.
    told: Option<Instant>,
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
            retainer: Retainer::new(Arc::clone(&store), retention),
            store,
            patience,
            counts,
            number: 0,
            failing: None,
            told: None,
        }
    }

    /// Until every handle is gone.
    pub(super) async fn run(mut self) {
        let mut items = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                received = self.items.recv_many(&mut items, BATCH) => match received {
                    0 => return,
                    _ => self.batch(&mut items).await,
                },
                () = sleep(self.retainer.rest()) => {}
            }
            if self.failing.is_none() {
                self.retainer.step().await;
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

    /// Writes a batch. What the store can't hold is dropped, and so is the whole where it fails for too long.
    async fn write(&mut self, calls: &[PlacedCall]) {
        let mut pieces = vec![calls];
        while let Some(piece) = pieces.pop() {
            match self.store.keep(piece).await {
                Ok(new) => self.written(piece, new),
                Err(error @ StoreError::Refused { value: true, .. }) => match piece {
                    [one] => self.unfit(one, &error),
                    several => {
                        let (earlier, later) = several.split_at(several.len() / 2);
                        pieces.extend([later, earlier]);
                    }
                },
                Err(error) if self.is_worth_waiting(&error) => {
                    pieces.push(piece);
                    sleep(RETRY).await;
                }
                Err(_) => {
                    self.counts.dropped(piece.len());
                    self.retainer.doubt();
                }
            }
        }
    }

    fn written(&mut self, calls: &[PlacedCall], new: u64) {
        self.counts.kept(calls.len());
        self.retainer.added(calls, new);
        self.answered();
    }

    /// The store did something, or said why not.
    fn answered(&mut self) {
        if self.failing.take().is_some() {
            self.counts.set_failing(false);
            let dropped = self.counts.now().store_away;
            tracing::info!(dropped, "calls are recorded again");
        }
    }

    /// Drops the one record of a batch that the store can't hold.
    fn unfit(&mut self, placed: &PlacedCall, error: &StoreError) {
        self.counts.dropped(1);
        self.answered();
        if self.told.is_none_or(|told| told.elapsed() >= TELL) {
            self.told = Some(Instant::now());
            tracing::warn!(
                function = placed.call.source.function.as_str(),
                request = placed.call.request.as_str(),
                error = chain(error),
                "the database can't hold the record of a call, which is dropped and counted; others like it are not told for a minute"
            );
        }
    }

    /// Whether what failed is tried again: for some time after the first failure.
    fn is_worth_waiting(&mut self, error: &StoreError) -> bool {
        let since = *self.failing.get_or_insert_with(|| {
            tracing::warn!(
                error = chain(error),
                "calls can't be recorded: they go on, and their records are dropped and counted if this lasts"
            );
            Instant::now()
        });
        self.counts.set_failing(true);
        since.elapsed() < self.patience
    }
}
