use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::{StoreError, migrations};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite");

/// Longest wait for another process (a backup, `sqlite3`) that holds the file.
const BUSY: Duration = Duration::from_secs(5);

pub(super) async fn open(file: &Path) -> Result<SqlitePool, StoreError> {
    keep_private(file).map_err(|error| StoreError::Unavailable(Box::new(error)))?;
    let options = SqliteConnectOptions::new()
        .filename(file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY);
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await?;
    MIGRATIONS
        .run(&pool)
        .await
        .map_err(|error| migrations::refusal(&MIGRATIONS, error))?;
    Ok(pool)
}

/// Environments hold secrets: the file is its owner's alone. SQLite gives its log and index the mode of the file.
fn keep_private(file: &Path) -> std::io::Result<()> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(file)?
        .set_permissions(Permissions::from_mode(0o600))
}
