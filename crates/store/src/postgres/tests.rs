pub(crate) mod server;

use std::time::{Duration, Instant};

use self::server::Server;
use super::*;
use crate::{Damaged, Record, Store, suite};

/// Longest wait for what comes soon.
const PATIENCE: Duration = Duration::from_secs(20);

fn record(name: &str) -> Record {
    Record {
        function: suite::function(name),
        ready: None,
        versions: Vec::new(),
    }
}

async fn open(address: &Address, holder: &str) -> Result<PostgresStore, StoreError> {
    PostgresStore::open(address, holder, Expected::Any).await
}

/// A server whose database `w` has the function `f`, open as `a`; none where there is no PostgreSQL.
async fn with_a_function() -> Option<(Server, PostgresStore)> {
    let server = Server::start()?;
    let store = open(&server.database("w"), "a").await.unwrap();
    store.insert(0, &record("f")).await.unwrap();
    Some((server, store))
}

/// Waits for what comes soon.
async fn until(what: &str, so: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !so().await {
        assert!(begun.elapsed() < PATIENCE, "{what}");
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
        open(&address, "the suite").await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn refuses_a_newer_schema_and_names_damaged_rows() {
    let Some((server, store)) = with_a_function().await else {
        return;
    };
    store.insert(1, &record("g")).await.unwrap();
    server.sql(
        "w",
        "UPDATE versions SET memory_mb = 1 WHERE function = 'f'",
    );
    let contents = store.load().await.unwrap();
    assert_eq!(contents.functions, vec![record("g")]);
    let [
        Damaged {
            name,
            routes,
            code,
            reserved,
            problem,
        },
    ] = &contents.damaged[..]
    else {
        panic!("{:?}", contents.damaged);
    };
    assert_eq!((name.as_str(), routes), ("f", &suite::function("f").routes));
    assert!(code.contains(&suite::function("f").latest.code.digest));
    assert_eq!(*reserved, suite::function("f").reserved_concurrency);
    assert!(
        problem.contains("damaged in the column memory_mb"),
        "{problem}"
    );
    store.close().await;
    server.sql(
        "w",
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'future', true, '', 0)",
    );
    let error = open(&server.address("w"), "a").await.unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::NewerSchema {
                found: 9999,
                known: 4
            }
        ),
        "{error:?}"
    );
}

/// A store that looks at the database by itself this often.
async fn polling(address: &Address, poll: Duration) -> PostgresStore {
    PostgresStore::open_polling(address, "a", Expected::Any, poll)
        .await
        .unwrap()
}

const NEVER: Duration = Duration::from_secs(3600);
const OFTEN: Duration = Duration::from_millis(100);

async fn sees(store: &PostgresStore, revision: u64) {
    let mut sightings = store.sightings().unwrap();
    let seen = sightings.wait_for(|seen| seen.revision == revision);
    let seen = tokio::time::timeout(Duration::from_secs(20), seen).await;
    seen.expect("it is seen in time").unwrap();
}

#[tokio::test]
async fn another_writer_is_noticed_and_not_overwritten() {
    let Some(server) = Server::start() else {
        return;
    };
    // By notice alone.
    let store = polling(&server.database("w"), NEVER).await;
    assert_eq!(store.insert(0, &record("f")).await.unwrap(), 1);
    // One transaction with several changes raises the revision once.
    server.sql(
        "w",
        "BEGIN; UPDATE versions SET timeout_s = 9; DELETE FROM tags; COMMIT",
    );
    sees(&store, 2).await;
    // What was read at 1 stays based on 1, whatever was read since.
    let contents = store.load().await.unwrap();
    let stale = store.replace(1, &suite::function("f"), None).await;
    assert!(
        matches!(stale, Err(StoreError::Conflict { .. })),
        "{stale:?}"
    );
    let changed = contents.functions[0].function.clone();
    assert_eq!(i64::from(changed.latest.config.timeout), 9);
    assert_eq!(store.replace(2, &changed, None).await.unwrap(), 3);
    server.sql("w", "TRUNCATE functions CASCADE");
    sees(&store, 4).await;
}

#[tokio::test]
async fn another_writer_is_noticed_without_notices() {
    let Some(server) = Server::start() else {
        return;
    };
    let store = polling(&server.database("w"), OFTEN).await;
    store.insert(0, &record("f")).await.unwrap();
    // Nobody is told of it.
    server.sql("w", "UPDATE meta SET revision = 7");
    sees(&store, 7).await;
    // An older state is another one too.
    server.sql("w", "UPDATE meta SET revision = 3");
    sees(&store, 3).await;
}

#[tokio::test]
async fn only_what_is_expected_is_touched() {
    let Some(server) = Server::start() else {
        return;
    };
    let address = server.database("w");
    let us = ServerId::random();
    let refused = PostgresStore::open(&address, "us", Expected::Of(&us)).await;
    assert!(
        matches!(refused, Err(StoreError::Foreign { .. })),
        "{refused:?}"
    );
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(server.sql("w", tables), "0", "no table was made");
    let theirs = open(&address, "them").await.unwrap();
    let id = theirs.server_id().await.unwrap();
    theirs.insert(0, &record("f")).await.unwrap();
    theirs.close().await;
    let meta = || server.sql("w", "SELECT * FROM meta");
    let before = meta();
    for expected in [Expected::Of(&us), Expected::EmptyOrOf(&us)] {
        let refused = PostgresStore::open(&address, "us", expected).await;
        assert!(
            matches!(refused, Err(StoreError::Foreign { .. })),
            "{refused:?}"
        );
        assert_eq!(meta(), before);
    }
    for expected in [Expected::Of(&id), Expected::EmptyOrOf(&id)] {
        let opened = PostgresStore::open(&address, "them", expected).await;
        opened.unwrap().close().await;
    }
    let nowhere = format!("{}&options=-csearch_path%3Dnowhere", server.url("w"));
    let refused = open(&nowhere.parse().unwrap(), "us").await.unwrap_err();
    assert!(refused.to_string().contains("CREATE SCHEMA"), "{refused}");
}

/// What does not pass by itself is told apart from an outage.
#[tokio::test]
async fn lasting_refusals_are_named() {
    let Some((server, store)) = with_a_function().await else {
        return;
    };
    for (fault, cure, words) in [
        (
            "ALTER TABLE tags RENAME TO gone",
            "ALTER TABLE gone RENAME TO tags",
            "missing in the database",
        ),
        (
            "ALTER TABLE tags ADD CONSTRAINT no CHECK (key = '') NOT VALID",
            "ALTER TABLE tags DROP CONSTRAINT no",
            "a rule of the database's tables",
        ),
        (
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no' USING ERRCODE = 'disk_full'; END $$; \
             CREATE TRIGGER no_room BEFORE INSERT ON tags EXECUTE FUNCTION no_room()",
            "DROP TRIGGER no_room ON tags",
            "",
        ),
        (
            "CREATE FUNCTION poor() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no' USING ERRCODE = 'insufficient_privilege'; END $$; \
             CREATE TRIGGER poor BEFORE INSERT ON tags EXECUTE FUNCTION poor()",
            "DROP TRIGGER poor ON tags",
            "may not do this",
        ),
        (
            "ALTER DATABASE w SET default_transaction_read_only = on",
            "SET transaction_read_only = off; ALTER DATABASE w RESET default_transaction_read_only",
            "takes no changes",
        ),
    ] {
        server.sql("w", fault);
        // The connections of the pool alone, so that they have what was set for new ones.
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'warren' AND query NOT LIKE 'LISTEN%' AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = pg_stat_activity.pid AND locktype = 'advisory')";
        server.sql("w", cut);
        let begun = Instant::now();
        let refused = loop {
            match store.replace(1, &suite::function("f"), None).await {
                Err(StoreError::Unavailable(_)) if begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                other => break other,
            }
        };
        match &refused {
            Err(StoreError::Refused { problem, .. }) => {
                assert!(!words.is_empty() && problem.contains(words), "{problem}");
            }
            // The one that somebody may put right at any moment.
            Err(StoreError::NoRoom(_)) => assert_eq!(words, "", "{fault}"),
            _ => panic!("{fault}: {refused:?}"),
        }
        server.sql("w", cure);
        server.sql("w", cut);
    }
    until("changes are made again", async || {
        let now = store.load().await.map(|contents| contents.revision);
        match now {
            Ok(now) => store
                .replace(now, &suite::function("f"), None)
                .await
                .is_ok(),
            Err(_) => false,
        }
    })
    .await;
}

/// Everybody locks the row of `meta` first, so nobody waits in a circle with a long statement of another writer.
#[tokio::test]
async fn a_long_statement_of_another_writer_makes_no_deadlock() {
    let Some((server, store)) = with_a_function().await else {
        return;
    };
    store.insert(1, &record("g")).await.unwrap();
    let server = Arc::new(server);
    let writer = Arc::clone(&server);
    let writer = tokio::task::spawn_blocking(move || {
        let slowly =
            "UPDATE functions SET next_version = next_version + 1 WHERE pg_sleep(1) IS NOT NULL";
        writer.sql("w", slowly)
    });
    until("it has locked a function", async || {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        server.sql("w", waits) == "1"
    })
    .await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let met = store.replace(2, &suite::function("f"), None).await;
    assert!(matches!(met, Err(StoreError::Conflict { .. })), "{met:?}");
    writer.await.unwrap();
    assert_eq!(store.load().await.unwrap().revision, 3);
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = 'w'";
    assert_eq!(server.sql("w", deadlocks), "0");
}

#[tokio::test]
async fn a_change_that_was_undone_for_another_is_made_again() {
    let Some((server, store)) = with_a_function().await else {
        return;
    };
    // Sequences count attempts, as they are not undone.
    server.sql(
        "w",
        "CREATE SEQUENCE attempts; CREATE FUNCTION undo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF nextval('attempts') < 3 THEN RAISE 'deadlock' USING ERRCODE = '40P01'; END IF; RETURN NULL; END $$; \
         CREATE TRIGGER undo BEFORE UPDATE ON functions EXECUTE FUNCTION undo()",
    );
    let made = store.replace(1, &suite::function("f"), None).await;
    assert_eq!(made.unwrap(), 2);
    assert_eq!(server.sql("w", "SELECT last_value FROM attempts"), "3");
}

#[tokio::test]
async fn has_one_owner_and_fences_the_one_before() {
    let Some(server) = Server::start() else {
        return;
    };
    let address = server.database("w");
    let first = open(&address, "the first").await.unwrap();
    let refused = open(&address, "the second").await;
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
    let second = open(&address, "the second").await.unwrap();
    let fenced = first.insert(0, &record("f")).await;
    assert!(
        matches!(&fenced, Err(StoreError::Owned { holder }) if holder == "the second"),
        "{fenced:?}"
    );
    assert_eq!(second.insert(0, &record("f")).await.unwrap(), 1);
    // It is over for good, also if that one's mark is gone: as after a restored backup.
    let owner = &first.tenure;
    assert!(matches!(first.standing(), Standing::Lost(_)), "{owner:?}");
    let read = first.load().await;
    assert!(matches!(read, Err(StoreError::Owned { .. })), "{read:?}");
}

#[tokio::test]
async fn comes_back_after_an_outage_with_its_ownership() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let address = server.database("w");
    let store = open(&address, "the first").await.unwrap();
    store.insert(0, &record("f")).await.unwrap();
    let before = *store.sightings().unwrap().borrow();
    server.stop();
    until("the outage is noticed", async || {
        store.tenure.usable().is_err()
    })
    .await;
    let begun = Instant::now();
    let refused = store.insert(1, &record("g")).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(1), "refused at once");
    server.run();
    until("changes are made again", async || {
        store.insert(1, &record("g")).await.is_ok()
    })
    .await;
    assert_eq!(store.load().await.unwrap().functions.len(), 2);
    // What was read before may not be what is there: another connection is told.
    until("the reconnection is told", async || {
        store.sightings().unwrap().borrow().connection > before.connection
    })
    .await;
    let refused = open(&address, "the second").await;
    assert!(
        matches!(refused, Err(StoreError::Owned { .. })),
        "{refused:?}"
    );
}

/// A backup that was made under another owner has the same counters, and another owner.
#[tokio::test]
async fn a_restored_backup_freezes_the_server() {
    let Some(server) = Server::start() else {
        return;
    };
    let address = server.database("w");
    let before = open(&address, "the one before").await.unwrap();
    before.insert(0, &record("f")).await.unwrap();
    before.close().await;
    until("nobody is connected", async || {
        server.sql(
            "postgres",
            "SELECT count(*) FROM pg_stat_activity WHERE datname = 'w'",
        ) == "0"
    })
    .await;
    server.sql("postgres", "CREATE DATABASE backup TEMPLATE w");
    let store = open(&address, "the one now").await.unwrap();
    let loaded = store.load().await.unwrap();
    server.sql("postgres", "ALTER DATABASE w ALLOW_CONNECTIONS false");
    server.sql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'w'",
    );
    server.sql("postgres", "ALTER DATABASE w RENAME TO gone");
    server.sql("postgres", "ALTER DATABASE backup RENAME TO w");
    until("it is noticed", async || {
        matches!(store.standing(), Standing::Lost(_))
    })
    .await;
    let function = suite::function("f");
    let refused = store.replace(loaded.revision, &function, None).await;
    assert!(
        matches!(&refused, Err(StoreError::Owned { holder }) if holder == "the one before"),
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
    from.insert(0, &whole).await.unwrap();
    from.insert(1, &record("g")).await.unwrap();
    let (contents, id) = (from.load().await.unwrap(), from.server_id().await.unwrap());
    let to = open(&server.database("w"), "a").await.unwrap();
    to.fill(&contents, &id).await.unwrap();
    // The revision too: the data folder remembers it.
    assert_eq!(to.load().await.unwrap(), contents);
    assert_eq!(to.server_id().await.unwrap(), id);
    let again = to.fill(&contents, &id).await;
    assert!(
        matches!(again, Err(StoreError::Conflict { .. })),
        "{again:?}"
    );
}
