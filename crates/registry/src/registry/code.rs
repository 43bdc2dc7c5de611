//! Whether the code of functions is here: looked at when they are read and when a start failed, and again while some is missing.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tracing::{error, info, warn};
use warren_model::{Digest, FunctionName};
use warren_package::BlobError;

use super::{Inner, Parts, digests};
use crate::missing::Missing;
use crate::{Entry, NoCode, RegistryError};

/// How often it is looked for whether somebody brought what is missing.
const AGAIN: Duration = Duration::from_secs(2);
/// Functions that the log names.
const NAMED: usize = 10;

/// Looks for missing code again while there is some, for as long as the registry lives.
pub(super) fn start(inner: &Arc<Inner>) {
    let inner = Arc::downgrade(inner);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(AGAIN).await;
            let Some(inner) = Weak::upgrade(&inner) else {
                return;
            };
            if !inner.snapshot.load().missing.digests.is_empty() {
                inner.look_for_code().await;
            }
        }
    });
}

/// What these functions refer to and is not here, neither as a zip nor unpacked.
pub(super) async fn missing(
    parts: &Parts,
    functions: &BTreeMap<FunctionName, Arc<Entry>>,
) -> Missing {
    let mut missing = Missing {
        digests: HashSet::new(),
        folder: parts.ledger.folder().to_owned(),
    };
    let mut needed: HashSet<Digest> = functions
        .values()
        .flat_map(|entry| digests(Some(entry)))
        .collect();
    match parts.blobs.list().await {
        Ok(zips) => {
            for zip in zips {
                needed.remove(&zip);
            }
            needed.retain(|digest| !parts.unpacked.contains(digest));
            missing.digests = needed;
        }
        Err(error) => warn!(?error, "can't list the code in the blob store"),
    }
    missing
}

/// Tells the log, where more is missing than was known.
pub(super) fn report(
    missing: &Missing,
    known: Option<&Missing>,
    functions: &BTreeMap<FunctionName, Arc<Entry>>,
) {
    if missing.digests.is_empty() {
        if known.is_some_and(|known| !known.digests.is_empty()) {
            info!("the code of all functions is here");
        }
        return;
    }
    if known.is_some_and(|known| missing.digests.is_subset(&known.digests)) {
        return;
    }
    let lacking: Vec<&str> = functions
        .iter()
        .filter(|(_, entry)| lacks(entry, missing))
        .map(|(name, _)| name.as_str())
        .collect();
    let digests = missing.digests.iter().take(NAMED);
    let digests: Vec<_> = digests.map(ToString::to_string).collect();
    error!(
        count = lacking.len(),
        functions = lacking[..lacking.len().min(NAMED)].join(", "),
        sha256 = digests.join(", "),
        data = %missing.folder.display(),
        next = NoCode::NEXT,
        "functions can't be called: their code is not in the data folder"
    );
}

/// Whether some of a function's code is missing.
pub(crate) fn lacks(entry: &Entry, missing: &Missing) -> bool {
    digests(Some(entry))
        .iter()
        .any(|digest| missing.digests.contains(digest))
}

impl Inner {
    /// Whether this code is not here at all. One that can't be looked for counts as there.
    pub(super) async fn lacks_code(&self, digest: &Digest) -> Option<NoCode> {
        let gone = !self.parts.unpacked.contains(digest)
            && matches!(self.parts.blobs.exists(digest).await, Ok(false));
        gone.then(|| NoCode {
            digest: *digest,
            folder: self.parts.ledger.folder().to_owned(),
        })
    }

    /// Looks again, and shows what was found.
    pub(super) async fn look_for_code(&self) {
        let _turn = self.turn.lock().await;
        let snapshot = self.snapshot.load_full();
        let missing = missing(&self.parts, &snapshot.functions).await;
        if missing != *snapshot.missing {
            report(&missing, Some(&snapshot.missing), &snapshot.functions);
            self.show(snapshot.with_missing(missing));
        }
    }

    /// A zip that is needed.
    pub(super) async fn zip(&self, digest: &Digest) -> Result<Bytes, RegistryError> {
        match self.parts.blobs.get(digest).await {
            Err(BlobError::NotFound(digest)) => Err(NoCode {
                digest,
                folder: self.parts.ledger.folder().to_owned(),
            }
            .into()),
            got => Ok(got?),
        }
    }
}
