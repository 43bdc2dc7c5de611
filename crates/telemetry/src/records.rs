//! The records of calls: taken without a wait, written in batches by one task, bounded in age and number.
//!
//! ```text
//!   answered: metrics        keep: queue (16,384) ──► writer: batches of 2,048 at most, each 100 ms or when asked ──► RecordStore
//!                              full: dropped, counted      fails for 5 s, or can't hold one: dropped, counted
//! ```

mod counts;
mod retainer;
mod tally;
mod writer;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use thiserror::Error;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::timeout,
};
use warren_model::{CallRecord, CallSource, EngineName, InstanceId, RevisionId, Version};
use warren_store::{CallFilter, PlacedCall, RecordStore, StoreError};

pub use self::counts::RecordCounts;
use self::{
    counts::Counts,
    writer::{Item, PATIENCE, Writer},
};
use crate::{Metrics, metrics::Ended};

/// Records that may wait for the writer: some 5 MB of memory, and half a second of the busiest server's.
const QUEUE: usize = 16_384;
/// Versions, by engine, whose refused calls are told apart without another row each time.
const REFUSED: usize = 1_024;
/// How long a question waits for what was recorded before it.
const FLUSH: Duration = Duration::from_secs(2);

/// Which server records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// Its node.
    pub node: String,
    /// Raised at each of its starts.
    pub boot: u64,
}

/// How long records are kept: until one of both is exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Their age.
    pub age: Duration,
    /// Their number.
    pub number: u64,
}

/// Why records can't be read.
#[derive(Debug, Error)]
pub enum RecordsError {
    /// None are kept.
    #[error("calls are not recorded: the server runs with --records off")]
    Off,
    /// The writer is behind.
    #[error("the latest calls are not recorded yet, after {} s", FLUSH.as_secs())]
    Late,
    /// The store failed.
    #[error("records can't be read")]
    Store(#[from] StoreError),
}

/// The handle that calls are recorded through; clones are the same.
#[derive(Clone)]
pub struct Records(Arc<Inner>);

struct Inner {
    origin: Origin,
    metrics: Metrics,
    counts: Arc<Counts>,
    refused: Mutex<HashMap<(RevisionId, EngineName), Arc<CallSource>>>,
    /// None if calls are not recorded.
    kept: Option<Kept>,
}

struct Kept {
    queue: mpsc::Sender<Item>,
    /// Ends the writer's wait for more.
    hurry: Arc<Notify>,
    store: Arc<dyn RecordStore>,
}

impl Records {
    /// Records into a store. Within a tokio runtime.
    pub fn start(origin: Origin, store: Arc<dyn RecordStore>, retention: Retention) -> Self {
        Self::start_patient(origin, store, retention, PATIENCE)
    }

    /// [`start`](Self::start), with another time that the store may fail before records are dropped.
    fn start_patient(
        origin: Origin,
        store: Arc<dyn RecordStore>,
        retention: Retention,
        patience: Duration,
    ) -> Self {
        let (queue, items) = mpsc::channel(QUEUE);
        let hurry = Arc::new(Notify::new());
        let counts = Arc::new(Counts::default());
        let writer = Writer::new(
            items,
            Arc::clone(&hurry),
            Arc::clone(&store),
            retention,
            patience,
            Arc::clone(&counts),
        );
        tokio::spawn(writer.run());
        Self(Arc::new(Inner {
            origin,
            metrics: Metrics::default(),
            counts,
            refused: Mutex::default(),
            kept: Some(Kept {
                queue,
                hurry,
                store,
            }),
        }))
    }

    /// Records nothing; calls are counted in the metrics all the same.
    pub fn off(origin: Origin) -> Self {
        Self(Arc::new(Inner {
            origin,
            metrics: Metrics::default(),
            counts: Arc::default(),
            refused: Mutex::default(),
            kept: None,
        }))
    }

    /// What the records of an instance have in common.
    pub fn source(&self, version: &Version, instance: &InstanceId) -> Arc<CallSource> {
        Arc::new(self.of_version(version, version.config.engine, Some(instance)))
    }

    /// What the records of a version's calls have in common that were refused on an engine: the same each time, as there may be many.
    pub fn refused_source(&self, version: &Version, engine: EngineName) -> Arc<CallSource> {
        let mut known = self.0.refused.lock().unwrap_or_else(|e| e.into_inner());
        let key = (version.revision.clone(), engine);
        if known.len() >= REFUSED && !known.contains_key(&key) {
            known.clear();
        }
        let made = known
            .entry(key)
            .or_insert_with(|| Arc::new(self.of_version(version, engine, None)));
        Arc::clone(made)
    }

    fn of_version(
        &self,
        version: &Version,
        engine: EngineName,
        instance: Option<&InstanceId>,
    ) -> CallSource {
        CallSource {
            function: version.function.clone(),
            version: version.id.to_string(),
            revision: version.revision.clone(),
            engine,
            instance: instance.cloned(),
            node: self.0.origin.node.clone(),
            boot: self.0.origin.boot,
        }
    }

    /// A call is about to be answered: it is counted, so that whoever has the answer finds it counted. `since_received` is the time since the head of its
    /// request came, which the metric of refusals begins with.
    pub fn answered(&self, call: &CallRecord, since_received: Duration) {
        let ended = Ended::from(call.end);
        let duration = match ended {
            Ended::Throttled => since_received,
            _ => Duration::from_micros(call.answered_us()),
        };
        self.0.metrics.invocation(ended, duration);
    }

    /// Keeps the record of a call that is over. Never waits: what finds no room is counted.
    pub fn keep(&self, call: CallRecord) {
        let Some(kept) = &self.0.kept else {
            return;
        };
        match kept.queue.try_send(Item::Call(call)) {
            Ok(()) => self.0.counts.taken(),
            Err(_) => self.0.counts.no_room(),
        }
    }

    /// A call was lost with the task that ran it, and so has no record.
    pub fn lost(&self, duration: Duration) {
        self.0.metrics.invocation(Ended::Platform, duration);
        if self.0.kept.is_some() {
            self.0.counts.lost();
        }
    }

    /// Records, latest first; every record kept before is among those looked at.
    pub async fn find(&self, filter: &CallFilter) -> Result<Vec<PlacedCall>, RecordsError> {
        let kept = self.0.kept.as_ref().ok_or(RecordsError::Off)?;
        if !self.flush(FLUSH).await {
            return Err(RecordsError::Late);
        }
        Ok(kept.store.find(filter).await?)
    }

    /// Waits until every record so far is written or dropped, at most this long; whether that was so.
    pub async fn flush(&self, limit: Duration) -> bool {
        let Some(kept) = &self.0.kept else {
            return true;
        };
        let (done, written) = oneshot::channel();
        let asked = async {
            kept.queue.send(Item::Flush(done)).await.is_ok() && {
                kept.hurry.notify_one();
                written.await.is_ok()
            }
        };
        timeout(limit, asked).await.unwrap_or(false)
    }

    /// Writes what is left, at most this long, and lets go of the store. How many records were not written.
    pub async fn close(&self, limit: Duration) -> u64 {
        let flushed = self.flush(limit).await;
        let Some(kept) = &self.0.kept else {
            return 0;
        };
        if flushed {
            kept.store.close().await;
        }
        match flushed {
            true => 0,
            false => self.0.counts.waiting(),
        }
    }

    /// What became of the records so far.
    pub fn counts(&self) -> RecordCounts {
        self.0.counts.now()
    }

    /// The counters that [`answered`](Self::answered) adds to.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }
}

#[cfg(test)]
mod tests;
