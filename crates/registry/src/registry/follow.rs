//! Shows what other writers of the store changed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tracing::{info, warn};
use warren_store::StoreError;

use super::Inner;

/// How long to wait before the store is read again, if it could not be.
const RETRY: Duration = Duration::from_secs(1);

/// Follows the store's revision, where there can be other writers, for as long as the registry lives.
pub(super) fn start(inner: &Arc<Inner>) {
    if let Some(revisions) = inner.parts.store.revisions() {
        tokio::spawn(follow(Arc::downgrade(inner), revisions));
    }
}

async fn follow(inner: Weak<Inner>, mut revisions: watch::Receiver<u64>) {
    // The sender goes with the store.
    while revisions.changed().await.is_ok() {
        let revision = *revisions.borrow_and_update();
        loop {
            let Some(inner) = inner.upgrade() else {
                return;
            };
            match inner.catch_up(revision).await {
                Ok(()) => break,
                Err(error) => warn!(?error, "can't read what another writer changed"),
            }
            drop(inner);
            tokio::time::sleep(RETRY).await;
        }
    }
}

impl Inner {
    /// Reads everything again if this revision is not one of the snapshot's changes.
    async fn catch_up(self: &Arc<Self>, revision: u64) -> Result<(), StoreError> {
        // A change of our own is in the snapshot once its turn is over.
        let _turn = self.turn.lock().await;
        if self.snapshot.load().revision >= revision {
            return Ok(());
        }
        self.reload().await?;
        info!(revision, "another writer changed the database");
        Ok(())
    }
}
