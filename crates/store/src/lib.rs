#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod backend;
mod changes;
mod error;
mod migrations;
mod postgres;
mod record;
mod records;
mod rows;
mod sqlite;
mod statement;
mod store;
#[cfg(any(test, feature = "suite"))]
pub mod suite;
mod tables;

pub use error::StoreError;
pub use postgres::{Address, Expected, PostgresStore};
pub use record::{Contents, Damaged, Glance, Record};
pub use records::{
    CallFilter, Counted, PlacedCall, PostgresRecords, RecordStore, SqliteRecords, place,
};
pub use sqlite::SqliteStore;
pub use store::{Sighting, Standing, Store};
