use std::os::unix::fs::PermissionsExt;

use warren_model::VersionId;

use super::*;
use crate::{Record, Store, suite};

#[tokio::test]
async fn passes_the_suite() {
    let folder = tempfile::tempdir().unwrap();
    suite::all(async |name: &str| {
        SqliteStore::open(&folder.path().join(format!("{name}.db")))
            .await
            .unwrap()
    })
    .await;
}

#[tokio::test]
async fn is_durable_private_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("control.db");
    let store = SqliteStore::open(&file).await.unwrap();
    store.server_id().await.unwrap();
    for (pragma, expected) in [
        ("PRAGMA journal_mode", "wal"),
        ("PRAGMA synchronous", "2"),
        ("PRAGMA foreign_keys", "1"),
    ] {
        let row = sqlx::query(pragma).fetch_one(&store.pool).await.unwrap();
        let value = row
            .try_get::<String, _>(0)
            .or_else(|_| row.try_get::<i64, _>(0).map(|n| n.to_string()));
        assert_eq!(value.unwrap(), expected, "{pragma}");
    }
    for name in ["control.db", "control.db-wal"] {
        let mode = std::fs::metadata(folder.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn refuses_a_newer_schema() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("control.db");
    let store = SqliteStore::open(&file).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'future', 1, x'00', 0)",
    )
    .execute(&store.pool)
    .await
    .unwrap();
    store.close().await;
    let error = SqliteStore::open(&file).await.unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::NewerSchema {
                found: 9999,
                known: 2
            }
        ),
        "{error:?}"
    );
}

/// Who only looks makes no file, and changes no schema.
#[tokio::test]
async fn a_glance_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("control.db");
    assert_eq!(SqliteStore::glance(&file).await.unwrap(), None);
    assert!(!file.exists());
    let store = SqliteStore::open(&file).await.unwrap();
    let server = store.server_id().await.unwrap();
    store.insert(0, &record("f")).await.unwrap();
    sqlx::query("DROP TABLE _sqlx_migrations")
        .execute(&store.pool)
        .await
        .unwrap();
    let seen = SqliteStore::glance(&file).await.unwrap().unwrap();
    assert_eq!(seen.server.as_deref(), Some(server.as_str()));
    assert_eq!((seen.revision, seen.functions), (1, 1));
    let migrations = sqlx::query("SELECT * FROM _sqlx_migrations");
    assert!(migrations.fetch_all(&store.pool).await.is_err());
}

fn record(name: &str) -> Record {
    Record {
        function: suite::function(name),
        ready: None,
        versions: Vec::new(),
    }
}

#[tokio::test]
async fn names_damaged_rows() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("control.db"))
        .await
        .unwrap();
    let damaged = Record {
        versions: vec![suite::version("f", VersionId::Number(1))],
        ..record("f")
    };
    store.insert(0, &damaged).await.unwrap();
    let whole = record("g");
    store.insert(1, &whole).await.unwrap();
    for (statement, expected) in [
        (
            "UPDATE versions SET memory_mb = 1 WHERE version = '1' AND function = 'f'",
            "the row 'f:1' of the table versions is damaged in the column memory_mb",
        ),
        (
            "UPDATE versions SET memory_mb = 128, environment = '{' WHERE version = '1'",
            "damaged in the column environment",
        ),
        (
            "DELETE FROM versions WHERE function = 'f'",
            "the row 'f' of the table functions is damaged in the column name: it has no $LATEST",
        ),
    ] {
        sqlx::query(statement).execute(&store.pool).await.unwrap();
        let contents = store.load().await.unwrap();
        assert_eq!(
            contents.functions,
            vec![whole.clone()],
            "the others are well"
        );
        let problem = &contents.damaged[0].problem;
        assert!(problem.contains(expected), "{problem}");
    }
}

#[tokio::test]
async fn what_is_no_database_is_unavailable() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("control.db");
    std::fs::write(
        &file,
        "this is a text of some length, not a database at all ".repeat(99),
    )
    .unwrap();
    let error = SqliteStore::open(&file).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn the_file_alone_is_whole_once_it_is_closed_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("warren.db");
    let store = SqliteStore::open(&file).await.unwrap();
    let record = record("f");
    store.insert(0, &record).await.unwrap();
    // Somebody who only has it open keeps the log there.
    let other = SqliteStore::open(&file).await.unwrap();
    store.close_whole().await.unwrap();
    let copy = folder.path().join("copy.db");
    std::fs::copy(&file, &copy).unwrap();
    let copy = SqliteStore::open(&copy).await.unwrap();
    assert_eq!(copy.load().await.unwrap().functions, vec![record]);
    other.close().await;
}
