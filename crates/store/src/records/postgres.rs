use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Postgres};
use tokio::sync::Mutex;

use super::rows::{self, Placeholders};
use super::sources::Sources;
use super::{CallFilter, Counted, PlacedCall, RecordStore};
use crate::postgres::within;
use crate::{Address, StoreError};

/// One writes, the others read.
const CONNECTIONS: u32 = 3;
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest time of a read or of one batch.
const PATIENCE: Duration = Duration::from_secs(10);
/// What every connection asks of the server, in milliseconds.
const LIMITS: [(&str, &str); 4] = [
    // A crash of the database may lose the latest records, and no commit waits for its disk.
    ("synchronous_commit", "off"),
    ("lock_timeout", "5000"),
    ("statement_timeout", "9000"),
    ("idle_in_transaction_session_timeout", "9000"),
];

/// Records in tables of the PostgreSQL database that has the functions, over connections of their own.
#[derive(Debug)]
pub struct PostgresRecords {
    pool: PgPool,
    sources: Mutex<Sources>,
}

impl PostgresRecords {
    /// Of the database that [`PostgresStore::open`](crate::PostgresStore::open) has brought to this program's schema. Nothing is asked of it yet.
    pub fn new(address: &Address) -> Self {
        Self {
            pool: PgPoolOptions::new()
                .max_connections(CONNECTIONS)
                .acquire_timeout(CONNECT)
                .connect_lazy_with(address.options().options(LIMITS)),
            sources: Mutex::default(),
        }
    }
}

#[async_trait]
impl RecordStore for PostgresRecords {
    async fn keep(&self, calls: &[PlacedCall]) -> Result<u64, StoreError> {
        let mut known = self.sources.lock().await;
        let (fresh, kept) = within(PATIENCE, async {
            let mut transaction = self.pool.begin().await?;
            let (fresh, placed) = rows::write_sources!(transaction, known, calls);
            if !fresh.is_empty() {
                // They are remembered here: a crash of the database must not forget them.
                sqlx::query("SET LOCAL synchronous_commit = on")
                    .execute(&mut *transaction)
                    .await?;
            }
            let kept = rows::write_calls!(Postgres, Placeholders::Numbered, transaction, placed);
            transaction.commit().await?;
            Ok((fresh, kept))
        })
        .await?;
        known.extend(fresh);
        Ok(kept)
    }

    async fn find(&self, filter: &CallFilter) -> Result<Vec<PlacedCall>, StoreError> {
        within(PATIENCE, async {
            let found = rows::find!(filter).fetch_all(&self.pool).await?;
            found.into_iter().map(rows::CallRow::into_call).collect()
        })
        .await
    }

    async fn count_before(&self, place: i64, most: u32) -> Result<Counted, StoreError> {
        let counted = async { Ok(rows::count_before!(place, most, &self.pool)?) };
        within(PATIENCE, counted).await
    }

    async fn remove_before(&self, place: i64, most: u32) -> Result<u64, StoreError> {
        let removed = async { Ok(rows::remove!(rows::REMOVE, place, most, &self.pool)?) };
        within(PATIENCE, removed).await
    }

    async fn sweep(&self, most: u32) -> Result<u64, StoreError> {
        let mut known = self.sources.lock().await;
        let swept = async { Ok(rows::sweep!(known, most, &self.pool)?) };
        within(PATIENCE, swept).await
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}
