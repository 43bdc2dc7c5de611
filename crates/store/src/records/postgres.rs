use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Postgres};
use tokio::sync::Mutex;

use super::rows::{self, Placeholders};
use super::sources::Sources;
use super::{CallFilter, PlacedCall, RecordStore};
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
        let mut fresh = Sources::default();
        let kept = within(PATIENCE, async {
            let mut transaction = self.pool.begin().await?;
            let mut rows = Vec::with_capacity(calls.len());
            for placed in calls {
                let source = &placed.call.source;
                let id = match known.id(source).or_else(|| fresh.id(source)) {
                    Some(id) => id,
                    None => {
                        let id = rows::insert_source!(source)
                            .fetch_one(&mut *transaction)
                            .await?;
                        fresh.insert(source, id);
                        id
                    }
                };
                rows.push((id, placed));
            }
            if !fresh.is_empty() {
                // Their ids are remembered here: a crash of the database must not forget them.
                sqlx::query("SET LOCAL synchronous_commit = on")
                    .execute(&mut *transaction)
                    .await?;
            }
            let mut kept = 0;
            for (sql, piece) in rows::pieces(&rows, Placeholders::Numbered) {
                let query = piece
                    .iter()
                    .fold(sqlx::query::<Postgres>(sql), |query, (source, placed)| {
                        rows::bind(query, *source, placed)
                    });
                kept += query.execute(&mut *transaction).await?.rows_affected();
            }
            transaction.commit().await?;
            Ok(kept)
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

    async fn count(&self) -> Result<u64, StoreError> {
        within(PATIENCE, async {
            let count: i64 = sqlx::query_scalar(rows::COUNT)
                .fetch_one(&self.pool)
                .await?;
            Ok(count.unsigned_abs())
        })
        .await
    }

    async fn remove_before(&self, place: i64, most: u32) -> Result<u64, StoreError> {
        within(PATIENCE, async {
            let removed = sqlx::query(rows::REMOVE)
                .bind(place)
                .bind(i64::from(most))
                .execute(&self.pool)
                .await?;
            Ok(removed.rows_affected())
        })
        .await
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        let mut known = self.sources.lock().await;
        let swept = within(PATIENCE, async {
            let swept = sqlx::query(rows::SWEEP).execute(&self.pool).await?;
            Ok(swept.rows_affected())
        })
        .await?;
        known.clear();
        Ok(swept)
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}
