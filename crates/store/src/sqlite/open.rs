use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlitePool};

use crate::{Glance, StoreError, migrations, rows};

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

pub(super) async fn glance(file: &Path) -> Result<Option<Glance>, StoreError> {
    if !file.exists() {
        return Ok(None);
    }
    let mut connection = SqliteConnectOptions::new()
        .filename(file)
        .read_only(true)
        .busy_timeout(BUSY)
        .connect()
        .await?;
    let there: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE name = 'meta'")
        .fetch_one(&mut connection)
        .await?;
    let seen = match there {
        0 => None,
        _ => {
            let (server, revision, functions): (_, i64, i64) = sqlx::query_as(
                "SELECT server_id, revision, (SELECT count(*) FROM functions) FROM meta WHERE id = 1",
            )
            .fetch_one(&mut connection)
            .await?;
            Some(Glance {
                server,
                revision: rows::number("meta", "1", "revision", revision)?,
                functions: functions.unsigned_abs(),
                holder: None,
            })
        }
    };
    connection.close().await?;
    Ok(seen)
}

/// Environments hold secrets: the file is its owner's alone. SQLite gives its log and index the mode of the file.
pub(crate) fn keep_private(file: &Path) -> std::io::Result<()> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(file)?
        .set_permissions(Permissions::from_mode(0o600))
}
