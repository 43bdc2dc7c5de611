//! Where the records of calls are kept: apart from functions, since many are written and none must be waited for.

mod postgres;
mod rows;
mod sources;
mod sqlite;

use async_trait::async_trait;
use warren_model::{CallRecord, EngineName, FunctionName};

pub use self::postgres::PostgresRecords;
pub use self::sqlite::SqliteRecords;
use crate::StoreError;

/// Bits of a [`PlacedCall`]'s id below the moment of its arrival.
const PLACE_BITS: u32 = 10;

/// A record at its place among all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedCall {
    /// Its place, in the order of arrival; see [`place`].
    pub id: i64,
    /// The record.
    pub call: CallRecord,
}

/// The place of a call that arrived at this moment; `number` tells it from others of the same microsecond, and its last ten bits count.
pub fn place(arrived_us: u64, number: u64) -> i64 {
    let low = number & ((1 << PLACE_BITS) - 1);
    // 53 bits of microseconds reach to the year 2255.
    i64::try_from(arrived_us.min(i64::MAX as u64 >> PLACE_BITS) << PLACE_BITS | low)
        .unwrap_or(i64::MAX)
}

/// Which records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFilter {
    /// Of this function.
    pub function: Option<FunctionName>,
    /// On this engine.
    pub engine: Option<EngineName>,
    /// With this outcome, one of [`CallEnd::OUTCOMES`](warren_model::CallEnd::OUTCOMES).
    pub outcome: Option<String>,
    /// That arrived at this moment or later, in microseconds since 1970-01-01 UTC.
    pub since_us: Option<u64>,
    /// Before this place.
    pub before: Option<i64>,
    /// This many at most, the latest ones.
    pub limit: u32,
}

/// A step of counting records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// How many it counted.
    pub number: u64,
    /// The place of the earliest of them; none if there was none.
    pub from: Option<i64>,
}

/// A place for records. Only one process writes to it.
#[async_trait]
pub trait RecordStore: Send + Sync {
    /// Keeps all of these, or none, in one transaction; those that are there already stay as they are. Gives how many are new.
    async fn keep(&self, calls: &[PlacedCall]) -> Result<u64, StoreError>;

    /// The latest records that the filter lets pass, latest first.
    async fn find(&self, filter: &CallFilter) -> Result<Vec<PlacedCall>, StoreError>;

    /// Counts the latest of those before this place, so many at most.
    async fn count_before(&self, place: i64, most: u32) -> Result<Counted, StoreError>;

    /// Removes the oldest of those before this place, so many at most, and gives how many these were.
    async fn remove_before(&self, place: i64, most: u32) -> Result<u64, StoreError>;

    /// Removes what only removed records referred to, so many at most, and gives how many these were.
    async fn sweep(&self, most: u32) -> Result<u64, StoreError>;

    /// Lets go of the database.
    async fn close(&self);
}

#[cfg(test)]
mod tests;
