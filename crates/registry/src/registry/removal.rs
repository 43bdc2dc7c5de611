//! Removes code that nothing needs any more (the rule is in `sweep`).

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tracing::{info, warn};
use warren_model::Digest;

use super::Inner;
use crate::sweep::GRACE;

/// How often it is looked for.
const PERIOD: Duration = Duration::from_secs(5 * 60);

/// Removes what is there without need (no call is running yet), and again from time to time, for as long as the registry lives.
pub(super) async fn start(inner: &Arc<Inner>) {
    inner.remove_unneeded(Duration::ZERO).await;
    if let Err(error) = inner.parts.unpacked.retain(&inner.needed()).await {
        warn!(?error, "can't remove unpacked code");
    }
    let inner = Arc::downgrade(inner);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(PERIOD).await;
            match Weak::upgrade(&inner) {
                Some(inner) => inner.remove_unneeded(GRACE).await,
                None => return,
            }
        }
    });
}

impl Inner {
    /// Removes zips and unpacked code that nothing needed for `grace`. What can't be removed is logged and tried again the next time.
    pub(super) async fn remove_unneeded(&self, grace: Duration) {
        // Nobody stores a zip from here on: what is referred to and held can't become more.
        let _zips = self.zips.write().await;
        let mut sweep = self.sweep.lock().await;
        let blobs = match self.parts.blobs.list().await {
            Ok(blobs) => blobs,
            Err(error) => return warn!(?error, "can't list the code in the blob store"),
        };
        let needed = self.needed();
        for digest in sweep.due(blobs, &needed, self.now(), grace) {
            match self.remove(&digest).await {
                Ok(()) => info!(%digest, "removed code that nothing needs"),
                Err(error) => warn!(%digest, ?error, "can't remove code"),
            }
        }
    }

    /// All that versions refer to, and all that is held.
    fn needed(&self) -> HashSet<Digest> {
        // Held first: what is handed over from a hold to a version is seen in one of them.
        let mut needed: HashSet<Digest> = self.holds.held().into_iter().collect();
        for entry in self.snapshot.load().functions.values() {
            needed.extend(entry.all_versions().map(|version| version.code.digest));
        }
        needed
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
