//! Removes code that nothing needs any more (the rule is in `sweep`).

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tracing::{error, info, warn};
use warren_model::{Digest, Timestamp};

use warren_store::Standing;

use super::Inner;
use crate::sweep::Found;

/// How often it is looked for.
const PERIOD: Duration = Duration::from_secs(5 * 60);

/// Removes what is there without need, now and from time to time, for as long as the registry lives.
pub(super) async fn start(inner: &Arc<Inner>) {
    inner.remove_unneeded(inner.now()).await;
    // A cache: what is needed again is unpacked again.
    let kept = inner.needed().union(&inner.held()).copied().collect();
    if let Err(error) = inner.parts.unpacked.retain(&kept).await {
        warn!(?error, "can't remove unpacked code");
    }
    let inner = Arc::downgrade(inner);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(PERIOD).await;
            match Weak::upgrade(&inner) {
                Some(inner) => inner.remove_unneeded(inner.now()).await,
                None => return,
            }
        }
    });
}

impl Inner {
    /// Removes zips and unpacked code that nothing needed for long enough, if it is certain what is needed. What can't be removed is logged and tried again
    /// the next time.
    pub(super) async fn remove_unneeded(&self, now: Timestamp) {
        // Nobody stores a zip from here on: what is referred to and held can't become more.
        let _zips = self.zips.write().await;
        let known = self.parts.store.standing() == Standing::Ours && !self.in_doubt();
        if !known || !self.snapshot.load().damaged.is_empty() {
            return;
        }
        let blobs = match self.parts.blobs.list().await {
            Ok(blobs) => blobs,
            Err(error) => return warn!(?error, "can't list the code in the blob store"),
        };
        // Held first: what is handed over from a hold to a version is seen in one of them.
        let held = self.held();
        let needed = self.needed();
        let ledger = &self.parts.ledger;
        let found = ledger.look(blobs, &needed, &held, now);
        // Before what was found is written down, which would make it known: it is told once.
        if let Found::Halved { lost, needed } = &found {
            let why = format!(
                "the code of {lost} zips is not needed any more, that of {needed} is, and this server did not delete their functions"
            );
            if let Err(error) = ledger.stop(&why) {
                return error!(%error, "can't write down why code is not removed");
            }
        }
        if let Err(error) = ledger.save().await {
            return warn!(%error, "can't write down which code is not needed");
        }
        let due = match found {
            Found::Due(due) => due,
            Found::Halved { .. } => return,
        };
        if ledger.still_stopped().await || due.is_empty() {
            return;
        }
        for digest in due {
            match self.remove(&digest).await {
                Ok(()) => info!(%digest, "removed code that nothing needs"),
                Err(error) => warn!(%digest, ?error, "can't remove code"),
            }
        }
    }

    /// What is in use beside what versions refer to.
    pub(super) fn held(&self) -> HashSet<Digest> {
        self.holds.held().into_iter().collect()
    }

    /// All that versions refer to.
    pub(super) fn needed(&self) -> HashSet<Digest> {
        let snapshot = self.snapshot.load();
        let versions = snapshot.functions.values().flat_map(|e| e.all_versions());
        let damaged = snapshot.damaged.values().flat_map(|damaged| &damaged.code);
        versions
            .map(|version| version.code.digest)
            .chain(damaged.copied())
            .collect()
    }

    /// The unpacked code before the zip: it is found by the list of zips.
    async fn remove(
        &self,
        digest: &Digest,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.parts.unpacked.remove(digest).await?;
        self.parts.blobs.delete(digest).await?;
        Ok(())
    }
}
