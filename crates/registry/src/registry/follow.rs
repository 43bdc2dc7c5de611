//! Shows what other writers of the store changed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info, warn};
use warren_store::{Sighting, StoreError};

use super::Inner;

/// How long to wait before the store is read again, if it could not be.
const RETRY: Duration = Duration::from_secs(1);

/// Follows the store, where there can be other writers, for as long as the registry lives.
pub(super) fn start(inner: &Arc<Inner>) {
    if let Some(sightings) = inner.parts.store.sightings() {
        tokio::spawn(follow(Arc::downgrade(inner), sightings));
    }
}

async fn follow(inner: Weak<Inner>, mut sightings: watch::Receiver<Sighting>) {
    // The sender goes with the store. What was seen since it was opened, before this task began, is looked at too.
    loop {
        sightings.borrow_and_update();
        loop {
            let Some(inner) = inner.upgrade() else {
                return;
            };
            match inner.catch_up(&sightings).await {
                Ok(()) => break,
                Err(StoreError::Owned { holder }) => {
                    return error!(holder, "what is in the database is not followed any more");
                }
                Err(error) => warn!(?error, "can't read what another writer changed"),
            }
            drop(inner);
            tokio::time::sleep(RETRY).await;
        }
        if sightings.changed().await.is_err() {
            return;
        }
    }
}

impl Inner {
    /// Reads everything again if the snapshot is not of what was seen, or was read over another connection.
    async fn catch_up(
        self: &Arc<Self>,
        sightings: &watch::Receiver<Sighting>,
    ) -> Result<(), StoreError> {
        // A change of our own is in the snapshot once its turn is over.
        let _turn = self.turn.lock().await;
        let before = self.snapshot.load().revision;
        let seen = sightings.borrow().revision;
        if before == seen && !self.in_doubt() {
            return Ok(());
        }
        self.reload().await?;
        let revision = self.snapshot.load().revision;
        if revision != before {
            info!(revision, before, "another writer changed the database");
        }
        Ok(())
    }
}
