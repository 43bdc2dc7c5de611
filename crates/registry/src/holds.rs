use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use warren_model::Digest;

/// Code that is in use beside what versions refer to: being stored, being prepared, mounted in a sandbox.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holds {
    counts: Arc<Mutex<HashMap<Digest, usize>>>,
}

/// Keeps a zip and its unpacked folder from being removed, until it is dropped.
#[derive(Debug)]
pub struct Hold {
    holds: Holds,
    digest: Digest,
}

impl Holds {
    pub(crate) fn hold(&self, digest: Digest) -> Hold {
        *self.counts().entry(digest).or_default() += 1;
        Hold {
            holds: self.clone(),
            digest,
        }
    }

    /// What is held now.
    pub(crate) fn held(&self) -> Vec<Digest> {
        self.counts().keys().copied().collect()
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// Whose code is held.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut counts = self.holds.counts();
        if let Some(count) = counts.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.digest);
            }
        }
    }
}
