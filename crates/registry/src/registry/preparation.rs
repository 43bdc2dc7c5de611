//! Preparations in the background, and how they end.

use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{error, info, warn};
use warren_model::{Function, RevisionId, Version, chain};
use warren_store::StoreError;

use super::Inner;
use crate::{Hold, PrepareError, RegistryError, states};

/// How long to wait before the end of a preparation is stored again, if it could not be.
const RETRY: Duration = Duration::from_secs(1);

/// Prepares what is in preparation as the snapshot says and nobody prepares: what a server left unfinished when it ended.
pub(super) fn resume(inner: &Arc<Inner>) {
    for entry in inner.snapshot.load().functions.values() {
        let running = inner.preparing().contains(&entry.latest.revision);
        if states::in_preparation(&entry.latest) && !running {
            info!(function = %entry.function.name(), "resuming the preparation");
            let hold = inner.holds.hold(entry.latest.code.digest);
            begin(inner, &entry.latest, hold);
        }
    }
}

/// Prepares a `$LATEST` that was stored and shown; `hold` keeps its code meanwhile.
pub(super) fn begin(inner: &Arc<Inner>, latest: &Version, hold: Hold) {
    let (inner, latest) = (Arc::clone(inner), latest.clone());
    inner.preparing().insert(latest.revision.clone());
    tokio::spawn(async move {
        let _hold = hold;
        let result = prepare(&inner, &latest).await;
        match &result {
            Ok(()) => info!(function = %latest.function, revision = %latest.revision, "prepared"),
            Err(failure) => {
                warn!(function = %latest.function, revision = %latest.revision, code = failure.code, %failure, "preparation failed");
            }
        }
        // Without its end the function could never be updated again.
        while let Err(failure) = inner.settle(&latest, &result).await {
            if let RegistryError::Store(StoreError::Owned { holder }) = &failure {
                return error!(function = %latest.function, holder, "the end of a preparation can't be stored any more");
            }
            error!(function = %latest.function, error = chain(&failure), "can't store the end of a preparation");
            tokio::time::sleep(RETRY).await;
        }
        inner.preparing().remove(&latest.revision);
    });
}

/// Runs the preparer; its panic is a failed preparation, not a function in preparation for ever.
async fn prepare(inner: &Arc<Inner>, version: &Version) -> Result<(), PrepareError> {
    if let Some(missing) = inner.lacks_code(&version.code.digest).await {
        return Err(PrepareError {
            code: "InternalError".to_owned(),
            message: missing.to_string(),
        });
    }
    let (preparer, version) = (Arc::clone(&inner.parts.preparer), version.clone());
    tokio::spawn(async move { preparer.prepare(&version).await })
        .await
        .unwrap_or_else(|panic| {
            error!(%panic, "a preparation panicked");
            Err(PrepareError {
                code: "InternalError".to_owned(),
                message: "The preparation failed by an error of the server; its log says more."
                    .to_owned(),
            })
        })
}

impl Inner {
    fn preparing(&self) -> MutexGuard<'_, HashSet<RevisionId>> {
        let preparing = self.preparing.lock();
        preparing.unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores and shows how a preparation ended, for `$LATEST` and the versions that were published with it.
    async fn settle(
        self: &Arc<Self>,
        prepared: &Version,
        result: &Result<(), PrepareError>,
    ) -> Result<(), RegistryError> {
        let name = &prepared.function;
        let turn = self.turn().await?;
        let entry = match turn.snapshot.function(name) {
            Some(entry) if entry.latest.revision == prepared.revision => Arc::clone(entry),
            // Deleted meanwhile, and perhaps created again.
            _ => return Ok(()),
        };
        let mut function = Function::clone(&entry.function);
        states::settle(&mut function.latest, result);
        let published: Vec<Version> = entry
            .versions
            .values()
            .filter(|version| states::in_preparation(version))
            .map(|version| {
                let mut version = Version::clone(version);
                states::settle(&mut version, result);
                version
            })
            .collect();
        let mut changed = entry.with(function, None);
        let based_on = turn.snapshot.revision;
        turn.announce(name, Some(&changed)).await;
        let stored = self
            .parts
            .store
            .settle(
                based_on,
                &changed.function,
                changed.ready_apart(),
                &published,
            )
            .await;
        for version in published {
            changed.put(Arc::new(version));
        }
        turn.commit(name, stored, Some(changed))
    }
}
