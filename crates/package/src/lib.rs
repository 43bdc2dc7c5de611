#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod archive;
mod blobs;
mod check;
mod error;
mod limits;
mod native;
mod pack;
mod shown;
mod target;
mod unpacked;

// What the hostile packages of the table are made with, too.
#[cfg(test)]
#[allow(dead_code, reason = "each user takes what it needs")]
#[path = "../examples/hostile_packages/cases/raw.rs"]
mod raw;

pub use blobs::{BlobError, BlobStore, FileBlobs};
pub use check::{Checked, check, check_script, oversize};
pub use error::{NameFault, PackageError};
pub use limits::Limits;
pub use native::{NativeFault, accelerators};
pub use pack::{PackError, PackedFolder, zip_folder, zip_inline};
pub use target::Target;
pub use unpacked::{UnpackError, Unpacked};
