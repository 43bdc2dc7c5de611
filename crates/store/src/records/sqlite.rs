use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool};
use tokio::sync::Mutex;

use super::rows::{self, Placeholders};
use super::sources::Sources;
use super::{CallFilter, PlacedCall, RecordStore};
use crate::{StoreError, migrations, sqlite};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/records");

/// Longest wait for another process that holds the file.
const BUSY: Duration = Duration::from_secs(5);
/// Readers at one time; none of them holds up the writer.
const READERS: u32 = 2;

/// Records in one SQLite file. A power cut may lose the latest of them, the end of the process does not: the disk is waited for at each checkpoint, not at
/// each commit.
#[derive(Debug)]
pub struct SqliteRecords {
    writer: SqlitePool,
    readers: SqlitePool,
    sources: Mutex<Sources>,
}

impl SqliteRecords {
    /// Opens the file, makes it if it is not there (its folder must be), and brings it to this program's schema. The file is readable by its owner alone.
    pub async fn open(file: &Path) -> Result<Self, StoreError> {
        sqlite::keep_private(file).map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        let options = SqliteConnectOptions::new()
            .filename(file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await?;
        MIGRATIONS
            .run(&writer)
            .await
            .map_err(|error| migrations::refusal(&MIGRATIONS, error))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .connect_lazy_with(
                SqliteConnectOptions::new()
                    .filename(file)
                    .read_only(true)
                    .busy_timeout(BUSY),
            );
        Ok(Self {
            writer,
            readers,
            sources: Mutex::default(),
        })
    }
}

#[async_trait]
impl RecordStore for SqliteRecords {
    async fn keep(&self, calls: &[PlacedCall]) -> Result<u64, StoreError> {
        let mut known = self.sources.lock().await;
        let mut fresh = Sources::default();
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
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
        let mut kept = 0;
        for (sql, piece) in rows::pieces(&rows, Placeholders::Plain) {
            let query = piece
                .iter()
                .fold(sqlx::query::<Sqlite>(sql), |query, (source, placed)| {
                    rows::bind(query, *source, placed)
                });
            kept += query.execute(&mut *transaction).await?.rows_affected();
        }
        transaction.commit().await?;
        known.extend(fresh);
        Ok(kept)
    }

    async fn find(&self, filter: &CallFilter) -> Result<Vec<PlacedCall>, StoreError> {
        let found = rows::find!(filter).fetch_all(&self.readers).await?;
        found.into_iter().map(rows::CallRow::into_call).collect()
    }

    async fn count(&self) -> Result<u64, StoreError> {
        let count: i64 = sqlx::query_scalar(rows::COUNT)
            .fetch_one(&self.readers)
            .await?;
        Ok(count.unsigned_abs())
    }

    async fn remove_before(&self, place: i64, most: u32) -> Result<u64, StoreError> {
        let removed = sqlx::query(rows::REMOVE)
            .bind(place)
            .bind(i64::from(most))
            .execute(&self.writer)
            .await?;
        Ok(removed.rows_affected())
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        let mut known = self.sources.lock().await;
        let swept = sqlx::query(rows::SWEEP).execute(&self.writer).await?;
        known.clear();
        Ok(swept.rows_affected())
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
