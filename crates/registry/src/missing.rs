//! Code that functions refer to and that is not in the data folder.

use std::collections::HashSet;
use std::path::PathBuf;

use thiserror::Error;
use warren_model::Digest;

/// A version's code is not here: its database was used with another data folder, or files were taken away.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{} {}", self.fact(), Self::NEXT)]
pub struct NoCode {
    /// Of the zip.
    pub digest: Digest,
    /// The data folder.
    pub folder: PathBuf,
}

impl NoCode {
    /// What the owner of the server can do.
    pub const NEXT: &str = "Start Warren with the data folder that has it (--data-dir), copy that one's folder 'blobs' into this one, or give the function its code again (deploy it, or UpdateFunctionCode).";

    /// What is missing, and where.
    pub fn fact(&self) -> String {
        format!(
            "The function's code (sha256 {}) is not in Warren's data folder {}.",
            self.digest,
            self.folder.display()
        )
    }
}

/// All that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) digests: HashSet<Digest>,
    /// The data folder, where it is missing.
    pub(crate) folder: PathBuf,
}

impl Missing {
    /// Whether this code is.
    pub(crate) fn of(&self, digest: &Digest) -> Option<NoCode> {
        self.digests.get(digest).map(|digest| NoCode {
            digest: *digest,
            folder: self.folder.clone(),
        })
    }
}
