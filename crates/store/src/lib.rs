#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod error;
mod record;
mod rows;
mod sqlite;
mod store;
#[cfg(any(test, feature = "suite"))]
pub mod suite;

pub use error::StoreError;
pub use record::{Contents, Record};
pub use sqlite::SqliteStore;
pub use store::Store;
