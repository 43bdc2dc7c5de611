use std::path::PathBuf;

use bytes::Bytes;
use warren_model::{Digest, InstanceId, chain};
use warren_package::{UnpackError, Unpacked};

/// The unpacked code of one run. It is in a folder of its own, so that a run of the same code may end before or after this one.
pub(super) struct Code {
    unpacked: Unpacked,
    name: Digest,
}

impl Code {
    /// Unpacks a zip for this run.
    pub(super) async fn unpack(
        unpacked: &Unpacked,
        run: &InstanceId,
        zip: Bytes,
    ) -> Result<Self, UnpackError> {
        let name = Digest::of(run.as_str().as_bytes());
        unpacked.unpack(&name, zip).await?;
        Ok(Self {
            unpacked: unpacked.clone(),
            name,
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> PathBuf {
        self.unpacked.path(&self.name)
    }

    /// Removes it: after the sandbox that shows it is gone.
    pub(super) async fn remove(self) {
        if let Err(error) = self.unpacked.remove(&self.name).await {
            tracing::warn!(
                error = chain(&error),
                "the code of a run could not be removed; the next start of the server does it"
            );
        }
    }
}
