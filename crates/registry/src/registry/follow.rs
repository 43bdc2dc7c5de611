//! Shows what other writers of the store changed.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{error, info, warn};
use warren_model::chain;
use warren_store::{Sighting, StoreError};

use super::Inner;

/// How long to wait before the store is read again, if it could not be.
const RETRY: Duration = Duration::from_secs(1);
/// Longer than from one look at the store to the next.
const NEXT_LOOK: Duration = Duration::from_secs(2);

/// What was seen is lower than the snapshot's revision.
#[derive(Clone, Copy)]
struct Behind {
    revision: u64,
    since: Instant,
}

/// Follows the store, where there can be other writers, for as long as the registry lives.
pub(super) fn start(inner: &Arc<Inner>) {
    if let Some(sightings) = inner.parts.store.sightings() {
        tokio::spawn(follow(Arc::downgrade(inner), sightings));
    }
}

async fn follow(inner: Weak<Inner>, mut sightings: watch::Receiver<Sighting>) {
    // The sender goes with the store. What was seen since it was opened, before this task began, is looked at too.
    let mut behind = None;
    loop {
        sightings.borrow_and_update();
        loop {
            let Some(inner) = inner.upgrade() else {
                return;
            };
            match inner.catch_up(&sightings, behind).await {
                Ok(now) => {
                    behind = now;
                    break;
                }
                Err(StoreError::Owned { holder }) => {
                    return error!(holder, "what is in the database is not followed any more");
                }
                Err(error) => warn!(
                    error = chain(&error),
                    "can't read what another writer changed"
                ),
            }
            drop(inner);
            tokio::time::sleep(RETRY).await;
        }
        let changed = sightings.changed();
        let changed = match behind {
            None => changed.await,
            Some(_) => timeout(NEXT_LOOK, changed).await.unwrap_or(Ok(())),
        };
        if changed.is_err() {
            return;
        }
    }
}

impl Inner {
    /// Reads everything again if the snapshot is not of what was seen, or was read over another connection.
    ///
    /// What was seen may be from before a change of our own. Then this answers what the next look must have reached; if it has not, that is an older
    /// state.
    async fn catch_up(
        self: &Arc<Self>,
        sightings: &watch::Receiver<Sighting>,
        behind: Option<Behind>,
    ) -> Result<Option<Behind>, StoreError> {
        // A change of our own is in the snapshot once its turn is over.
        let _turn = self.turn.lock().await;
        let before = self.snapshot.load().revision;
        let seen = sightings.borrow().revision;
        if !self.in_doubt() {
            if before == seen {
                return Ok(None);
            }
            if seen < before {
                let behind = behind.filter(|behind| seen < behind.revision);
                let behind = behind.unwrap_or_else(|| Behind {
                    revision: before,
                    since: Instant::now(),
                });
                if behind.since.elapsed() < NEXT_LOOK {
                    return Ok(Some(behind));
                }
            }
        }
        self.reload().await?;
        let revision = self.snapshot.load().revision;
        if revision != before {
            info!(revision, before, "another writer changed the database");
        }
        Ok(None)
    }
}
