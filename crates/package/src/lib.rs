#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod blobs;
mod check;
mod error;
mod limits;
mod pack;
mod unpacked;

pub use blobs::{BlobError, BlobStore, FileBlobs};
pub use check::{Checked, check};
pub use error::{NameFault, PackageError};
pub use limits::Limits;
pub use pack::{PackError, PackedFolder, zip_folder, zip_inline};
pub use unpacked::{UnpackError, Unpacked};
