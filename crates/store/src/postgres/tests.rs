mod server;

use std::time::{Duration, Instant};

use self::server::Server;
use super::*;
use crate::{Record, Store, suite};

fn record(name: &str) -> Record {
    Record {
        function: suite::function(name),
        ready: None,
        versions: Vec::new(),
    }
}

/// Waits for what comes soon.
async fn until(what: &str, so: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !so().await {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn passes_the_suite() {
    let Some(server) = Server::start() else {
        return;
    };
    suite::all(async |name: &str| {
        let exists = server.sql(
            "postgres",
            &format!("SELECT 1 FROM pg_database WHERE datname = 'suite_{name}'"),
        );
        let name = format!("suite_{name}");
        let address = match exists.as_str() {
            "1" => server.address(&name),
            _ => server.database(&name),
        };
        PostgresStore::open(&address, "the suite").await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn refuses_a_newer_schema_and_names_damaged_rows() {
    let Some(server) = Server::start() else {
        return;
    };
    let address = server.database("w");
    let store = PostgresStore::open(&address, "a").await.unwrap();
    store.insert(&record("f")).await.unwrap();
    server.sql("w", "UPDATE versions SET memory_mb = 1");
    let error = store.load().await.unwrap_err().to_string();
    assert!(error.contains("damaged in the column memory_mb"), "{error}");
    store.close().await;
    server.sql(
        "w",
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'future', true, '', 0)",
    );
    let error = PostgresStore::open(&address, "a").await.unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::NewerSchema {
                found: 9999,
                known: 1
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn another_writer_is_noticed_and_not_overwritten() {
    let Some(server) = Server::start() else {
        return;
    };
    let store = PostgresStore::open(&server.database("w"), "a")
        .await
        .unwrap();
    let mut revisions = store.revisions().unwrap();
    assert_eq!(store.insert(&record("f")).await.unwrap(), 1);
    let begun = Instant::now();
    // One transaction with several changes raises the revision once.
    server.sql(
        "w",
        "BEGIN; UPDATE versions SET timeout_s = 9; DELETE FROM tags; COMMIT",
    );
    let seen = revisions.wait_for(|revision| *revision == 2).await;
    assert_eq!(*seen.unwrap(), 2);
    assert!(begun.elapsed() < Duration::from_secs(5));
    let stale = store.replace(&suite::function("f"), None).await;
    assert!(
        matches!(stale, Err(StoreError::Conflict { .. })),
        "{stale:?}"
    );
    let changed = store.load().await.unwrap().functions.remove(0).function;
    assert_eq!(i64::from(changed.latest.config.timeout), 9);
    assert_eq!(store.replace(&changed, None).await.unwrap(), 3);
}

#[tokio::test]
async fn has_one_owner_and_fences_the_one_before() {
    let Some(server) = Server::start() else {
        return;
    };
    let address = server.database("w");
    let first = PostgresStore::open(&address, "the first").await.unwrap();
    let refused = PostgresStore::open(&address, "the second").await;
    assert!(
        matches!(&refused, Err(StoreError::Owned { holder }) if holder == "the first"),
        "{refused:?}"
    );
    // Its connection is cut, and another one is quicker.
    first.keeper.abort();
    until("the lock is free", async || {
        server.sql(
            "w",
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
        ) == "0"
    })
    .await;
    let second = PostgresStore::open(&address, "the second").await.unwrap();
    let fenced = first.insert(&record("f")).await;
    assert!(
        matches!(&fenced, Err(StoreError::Owned { holder }) if holder == "the second"),
        "{fenced:?}"
    );
    assert_eq!(second.insert(&record("f")).await.unwrap(), 1);
}

#[tokio::test]
async fn comes_back_after_an_outage_with_its_ownership() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let address = server.database("w");
    let store = PostgresStore::open(&address, "the first").await.unwrap();
    store.insert(&record("f")).await.unwrap();
    server.stop();
    until("the outage is noticed", async || {
        store.tenure.reachable().is_err()
    })
    .await;
    let begun = Instant::now();
    let refused = store.insert(&record("g")).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(1), "refused at once");
    server.run();
    until("changes are made again", async || {
        store.insert(&record("g")).await.is_ok()
    })
    .await;
    assert_eq!(store.load().await.unwrap().functions.len(), 2);
    let refused = PostgresStore::open(&address, "the second").await;
    assert!(
        matches!(refused, Err(StoreError::Owned { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn is_filled_from_another_store_once() {
    let Some(server) = Server::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let from = crate::SqliteStore::open(&folder.path().join("warren.db"))
        .await
        .unwrap();
    let whole = Record {
        ready: Some(suite::version("f", warren_model::VersionId::Latest)),
        versions: vec![suite::version("f", warren_model::VersionId::Number(1))],
        ..record("f")
    };
    from.insert(&whole).await.unwrap();
    from.insert(&record("g")).await.unwrap();
    let (contents, id) = (from.load().await.unwrap(), from.server_id().await.unwrap());
    let to = PostgresStore::open(&server.database("w"), "a")
        .await
        .unwrap();
    to.fill(&contents, &id).await.unwrap();
    assert_eq!(to.load().await.unwrap().functions, contents.functions);
    assert_eq!(to.server_id().await.unwrap(), id);
    let again = to.fill(&contents, &id).await;
    assert!(
        matches!(again, Err(StoreError::Conflict { .. })),
        "{again:?}"
    );
}
