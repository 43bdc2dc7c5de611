use std::path::Path;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqlitePool};
use tokio::sync::Mutex;

use super::rows::{self, Placeholders};
use super::sources::Sources;
use super::{CallFilter, Counted, PlacedCall, RecordStore};
use crate::{StoreError, migrations, sqlite};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/records");

/// Longest wait for another process that holds the file.
const BUSY: Duration = Duration::from_secs(5);
/// Readers at one time; none of them holds up the writer.
const READERS: u32 = 2;
/// Longest time of a read.
const PATIENCE: Duration = Duration::from_secs(10);
/// Steps of SQLite's machine between two looks at the clock: some 100 us.
const LOOK_STEPS: i32 = 10_000;
/// SQLite's code of a read that was ended.
const INTERRUPTED: &str = "9";

/// Records in one SQLite file. A power cut may lose the latest of them, the end of the process does not: the disk is waited for at each checkpoint, not at
/// each commit.
#[derive(Debug)]
pub struct SqliteRecords {
    writer: SqlitePool,
    readers: SqlitePool,
    sources: Mutex<Sources>,
    /// [`PATIENCE`], but in tests.
    pub(super) patience: Duration,
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
            .acquire_timeout(PATIENCE)
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
            patience: PATIENCE,
        })
    }

    /// A connection for one read, which ends by itself when it takes too long.
    async fn reader(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        let end = Instant::now() + self.patience;
        let goes_on = move || Instant::now() < end;
        let mut handle = reader.lock_handle().await?;
        handle.set_progress_handler(LOOK_STEPS, goes_on);
        drop(handle);
        Ok(reader)
    }

    fn slow(&self, error: sqlx::Error) -> StoreError {
        let code = error.as_database_error().and_then(|error| error.code());
        match code.as_deref() {
            Some(INTERRUPTED) => StoreError::Unavailable(
                format!("no answer within {} s", self.patience.as_secs()).into(),
            ),
            _ => error.into(),
        }
    }
}

#[async_trait]
impl RecordStore for SqliteRecords {
    async fn keep(&self, calls: &[PlacedCall]) -> Result<u64, StoreError> {
        let mut known = self.sources.lock().await;
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let (fresh, placed) = rows::write_sources!(transaction, known, calls);
        let kept = rows::write_calls!(Sqlite, Placeholders::Plain, transaction, placed);
        transaction.commit().await?;
        known.extend(fresh);
        Ok(kept)
    }

    async fn find(&self, filter: &CallFilter) -> Result<Vec<PlacedCall>, StoreError> {
        let mut reader = self.reader().await?;
        let found = rows::find!(filter).fetch_all(&mut *reader).await;
        let found = found.map_err(|error| self.slow(error))?;
        found.into_iter().map(rows::CallRow::into_call).collect()
    }

    async fn count_before(&self, place: i64, most: u32) -> Result<Counted, StoreError> {
        let mut reader = self.reader().await?;
        rows::count_before!(place, most, &mut *reader).map_err(|error| self.slow(error))
    }

    async fn remove_before(&self, place: i64, most: u32) -> Result<u64, StoreError> {
        Ok(rows::remove!(rows::REMOVE, place, most, &self.writer)?)
    }

    async fn sweep(&self, most: u32) -> Result<u64, StoreError> {
        let mut known = self.sources.lock().await;
        Ok(rows::sweep!(known, most, &self.writer)?)
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
