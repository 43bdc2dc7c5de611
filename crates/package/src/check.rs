//! Reads a zip as hostile: first what it says to hold, then what it really holds.

mod links;
mod name;
mod plan;

use std::io::{self, Write};

use bytes::Bytes;
use tokio::task;

use crate::{Limits, PackageError};
pub(crate) use plan::{Entry, Kind, Plan};

/// What a zip holds that was found to be in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Files, folders and links.
    pub entries: usize,
    /// Size of all files together, in bytes.
    pub unpacked: u64,
}

/// Checks a whole zip in memory: names, kinds, limits, and the content of every entry.
pub async fn check(zip: Bytes, limits: Limits) -> Result<Checked, PackageError> {
    match task::spawn_blocking(move || check_now(&zip, &limits)).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// [`check`] on this thread.
pub(crate) fn check_now(zip: &[u8], limits: &Limits) -> Result<Checked, PackageError> {
    let plan = Plan::read(zip, limits)?;
    let mut budget = Budget::new(limits);
    for entry in plan.entries() {
        if matches!(entry.kind, Kind::File { .. }) {
            match budget.copy(&plan, entry, &mut io::sink()) {
                Ok(()) => {}
                Err(CopyError::Zip(error)) => return Err(error),
                // A sink takes everything.
                Err(CopyError::Write(error)) => return Err(plan::damaged(&entry.path, error)),
            }
        }
    }
    Ok(Checked {
        entries: plan.entries().len(),
        unpacked: budget.used,
    })
}

/// Bytes that may still come out of a zip.
pub(crate) struct Budget {
    limit: u64,
    used: u64,
}

/// A copy failed on the side of the zip, or where it is written to.
#[derive(Debug)]
pub(crate) enum CopyError {
    Zip(PackageError),
    Write(io::Error),
}

impl From<PackageError> for CopyError {
    fn from(error: PackageError) -> Self {
        Self::Zip(error)
    }
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            limit: limits.unpacked,
            used: 0,
        }
    }

    /// Decompresses one entry to its end, so that its check sum is compared as well.
    pub(crate) fn copy(
        &mut self,
        plan: &Plan<'_>,
        entry: &Entry,
        to: &mut dyn Write,
    ) -> Result<(), CopyError> {
        plan.content(entry, |content| {
            let mut buffer = [0; 32 * 1024];
            loop {
                let count = match content.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(count) => count,
                    Err(error) => return Err(plan::damaged(&entry.path, error).into()),
                };
                self.used += count as u64;
                if self.used > self.limit {
                    return Err(CopyError::Zip(PackageError::UnpackedTooLarge {
                        entry: entry.path.clone(),
                        limit: self.limit,
                    }));
                }
                to.write_all(&buffer[..count]).map_err(CopyError::Write)?;
            }
        })
    }
}

#[cfg(test)]
mod tests;
