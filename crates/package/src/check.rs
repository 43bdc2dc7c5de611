//! Reads a zip as hostile: first what it says to hold, then what it really holds.

mod largest;
mod links;
mod name;
mod plan;
mod tree;

use bytes::Bytes;
use tokio::task;

use crate::archive::{CopyError, Inflater};
use crate::native::{self, Natives};
use crate::shown::printable;
use crate::{Limits, PackageError, Target};
pub(crate) use largest::megabytes;
pub use plan::oversize;
pub(crate) use plan::{Kind, Plan};

/// What a zip holds that was found to be in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Files, folders and links.
    pub entries: usize,
    /// Size of all files and links together, in bytes.
    pub unpacked: u64,
}

/// Checks a whole zip in memory: structure, names, kinds, limits, the content of every entry, and whether `target` can load what is native in it.
pub async fn check(zip: Bytes, limits: Limits, target: Target) -> Result<Checked, PackageError> {
    blocking(move || check_now(&zip, &limits, Some(&target))).await
}

/// The same for code of which one file is run: it must be there.
pub async fn check_script(
    zip: Bytes,
    limits: Limits,
    target: Target,
    entry: String,
) -> Result<Checked, PackageError> {
    blocking(move || {
        let plan = Plan::read(&zip, &limits)?;
        match plan.has_file(&entry) {
            true => look(&plan, Some(&target)),
            false => Err(PackageError::NoEntry {
                entry: printable(&entry),
            }),
        }
    })
    .await
}

async fn blocking(
    work: impl FnOnce() -> Result<Checked, PackageError> + Send + 'static,
) -> Result<Checked, PackageError> {
    match task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// [`check`] on this thread; without a target native code is not looked at.
pub(crate) fn check_now(
    zip: &[u8],
    limits: &Limits,
    target: Option<&Target>,
) -> Result<Checked, PackageError> {
    look(&Plan::read(zip, limits)?, target)
}

/// Looks at what the entries hold.
fn look(plan: &Plan<'_>, target: Option<&Target>) -> Result<Checked, PackageError> {
    let mut natives = target.map(Natives::new);
    let mut inflater = Inflater::new();
    for entry in &plan.entries {
        if !matches!(entry.kind, Kind::File { .. }) {
            continue;
        }
        let mut head = Vec::new();
        let wanted = natives.as_ref().map_or(0, |_| native::head(&entry.path));
        let copied = inflater.copy(&entry.record, |piece| {
            let more = piece.len().min(wanted - head.len());
            head.extend_from_slice(&piece[..more]);
            Ok(())
        });
        copied.map_err(|error| match error {
            CopyError::Content(problem) => PackageError::damaged(&entry.path, problem),
            // Nothing is written here.
            CopyError::Write(error) => PackageError::damaged(&entry.path, error),
        })?;
        if let Some(natives) = &mut natives {
            natives.see(&entry.path, &head);
        }
    }
    if let Some(natives) = natives {
        natives.judge(plan.entries.iter().map(|entry| entry.path.as_str()))?;
    }
    Ok(Checked {
        entries: plan.entries.len(),
        unpacked: plan.size,
    })
}

#[cfg(test)]
mod tests;
