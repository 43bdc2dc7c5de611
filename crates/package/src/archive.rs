//! A zip's structure, read strictly: one end record, one directory, each entry stated twice in the same words, no byte in two of them.
//!
//! Readers of zips forgive much, each in its own way, so a zip can be one thing to whoever looks into it and another to whoever unpacks it. This one
//! forgives nothing that two readers could understand differently (docs/decisions/0007-zips-are-read-strictly.md).

mod content;
mod end;
mod extra;
mod field;
mod layout;
mod record;

pub(crate) use content::{CopyError, Inflater};
pub(crate) use record::Record;

use std::ops::Range;

use crate::PackageError;

/// A zip whose end record and directory are in order.
#[derive(Debug)]
pub(crate) struct Archive<'z> {
    zip: &'z [u8],
    /// Where the directory is.
    directory: Range<usize>,
    /// Bytes before the zip itself, as in a self-extracting one; offsets are counted from behind them.
    prefix: usize,
    count: usize,
}

impl<'z> Archive<'z> {
    /// Reads the end records.
    pub(crate) fn open(zip: &'z [u8]) -> Result<Self, PackageError> {
        let end = end::End::find(zip)?;
        Ok(Self {
            zip,
            directory: end.directory,
            prefix: end.prefix,
            count: end.count,
        })
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The entries in the directory's order. Their bytes are known after [`locate`](Self::locate).
    pub(crate) fn records(&self) -> impl Iterator<Item = Result<Record<'z>, PackageError>> {
        let directory = &self.zip[self.directory.clone()];
        record::Records::new(directory, self.count)
    }

    /// Finds the bytes of each entry, and compares what stands before and after them with the directory.
    pub(crate) fn locate(&self, records: &mut [&mut Record<'z>]) -> Result<(), PackageError> {
        layout::locate(self.zip, self.prefix, self.directory.start, records)
    }
}

/// The refusal of a zip as a whole.
fn broken(problem: impl Into<String>) -> PackageError {
    PackageError::Structure {
        problem: problem.into(),
    }
}
