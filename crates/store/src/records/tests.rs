use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use warren_model::{CallCpu, CallEnd, CallSource, InstanceId, RequestId, RevisionId, Wait};

use super::*;
use crate::postgres::tests::server::Server;
use crate::{Expected, PostgresStore};

const SECOND_US: u64 = 1_000_000;
const HOUR_S: u64 = 3_600;

fn source(function: &str, engine: EngineName) -> Arc<CallSource> {
    Arc::new(CallSource {
        function: function.parse().unwrap(),
        version: "$LATEST".to_owned(),
        revision: RevisionId::new("r-1"),
        engine,
        instance: Some(InstanceId::new("0011")),
        node: "n\u{f6}de".to_owned(),
        boot: 7,
    })
}

/// A call with every member set to something that is not its default.
fn call(source: &Arc<CallSource>, second: u64, end: CallEnd) -> PlacedCall {
    let arrived_us = second * SECOND_US + 5;
    PlacedCall {
        id: place(arrived_us, second),
        call: CallRecord {
            source: Arc::clone(source),
            request: RequestId::new(format!("request-{second}")),
            arrived_us,
            attempts: 2,
            queued_us: 1,
            wait: Wait::Claim,
            wait_us: 3,
            init_us: 4,
            init_again_us: Some(5),
            instance_init_us: Some(6),
            handler_us: Some(7),
            closing_us: 8,
            bytes_in: 9,
            bytes_out: 10,
            cpu: Some(CallCpu { us: 11, calls: 12 }),
            peak_bytes: Some(13 << 32),
            end,
            error_type: Some("a 'quoted' \u{1f407} type".to_owned()),
            trace: Some("Root=1".to_owned()),
        },
    }
}

/// A call without anything that may be absent.
fn bare(function: &str, second: u64) -> PlacedCall {
    let source = Arc::new(CallSource {
        instance: None,
        ..source(function, EngineName::DOCKER).as_ref().clone()
    });
    let mut placed = call(&source, second, CallEnd::HostBusy);
    placed.call = CallRecord {
        wait: Wait::None,
        init_again_us: None,
        instance_init_us: None,
        handler_us: None,
        cpu: None,
        peak_bytes: None,
        error_type: None,
        trace: None,
        ..placed.call
    };
    placed
}

const ALL: CallFilter = CallFilter {
    function: None,
    engine: None,
    outcome: None,
    since_us: None,
    before: None,
    limit: 1_000,
};

/// What every store of records must do, with an empty one.
async fn suite(store: &dyn RecordStore) {
    keeps_everything_once(store).await;
    finds_what_is_asked_for(store).await;
    removes_the_oldest_in_steps(store).await;
    takes_batches_of_every_size(store).await;
    keeps_sources_as_long_as_their_records(store).await;
}

/// All there are, counted in steps.
async fn count(store: &dyn RecordStore) -> u64 {
    const STEP: u32 = 500;
    let (mut all, mut before) = (0, i64::MAX);
    loop {
        let step = store.count_before(before, STEP).await.unwrap();
        all += step.number;
        match step.from {
            Some(from) if step.number == u64::from(STEP) => before = from,
            from => {
                assert_eq!(from.is_none(), step.number == 0);
                return all;
            }
        }
    }
}

async fn keeps_everything_once(store: &dyn RecordStore) {
    assert_eq!(store.find(&ALL).await.unwrap(), []);
    let docker = source("f", EngineName::DOCKER);
    let calls = [
        call(&docker, 1, CallEnd::Answer),
        call(&docker, 2, CallEnd::TimedOut),
        bare("g", 3),
        call(&source("f", EngineName::named("runc")), 4, CallEnd::Error),
    ];
    assert_eq!(store.keep(&calls).await.unwrap(), 4);
    // As after a commit whose answer was lost.
    assert_eq!(store.keep(&calls).await.unwrap(), 0);
    let mut found = store.find(&ALL).await.unwrap();
    found.reverse();
    assert_eq!(found, calls);
    assert_eq!(count(store).await, 4);
    let second = store.count_before(calls[2].id, 1).await.unwrap();
    let expected = Counted {
        number: 1,
        from: Some(calls[1].id),
    };
    assert_eq!(second, expected);
}

async fn finds_what_is_asked_for(store: &dyn RecordStore) {
    let seconds = async |filter: CallFilter| -> Vec<u64> {
        let found = store.find(&filter).await.unwrap();
        let second = |placed: &PlacedCall| placed.call.arrived_us / SECOND_US;
        found.iter().map(second).collect()
    };
    let f = CallFilter {
        function: Some("f".parse().unwrap()),
        ..ALL
    };
    assert_eq!(seconds(f.clone()).await, [4, 2, 1]);
    let runc = CallFilter {
        engine: Some(EngineName::named("runc")),
        ..f.clone()
    };
    assert_eq!(seconds(runc).await, [4]);
    let failed = CallFilter {
        outcome: Some("failed".to_owned()),
        ..ALL
    };
    assert_eq!(seconds(failed).await, [2]);
    for (since_us, expected) in [
        (2 * SECOND_US + 5, &[4, 3, 2][..]),
        (2 * SECOND_US + 6, &[4, 3]),
        (u64::MAX, &[]),
    ] {
        let since = CallFilter {
            since_us: Some(since_us),
            ..ALL
        };
        assert_eq!(seconds(since).await, expected, "{since_us}");
    }
    let first = store
        .find(&CallFilter {
            limit: 2,
            ..f.clone()
        })
        .await
        .unwrap();
    let next = CallFilter {
        before: first.last().map(|placed| placed.id),
        limit: 2,
        ..f
    };
    assert_eq!(first[0].call.arrived_us / SECOND_US, 4);
    assert_eq!(seconds(next).await, [1]);
}

async fn removes_the_oldest_in_steps(store: &dyn RecordStore) {
    let third = place(3 * SECOND_US, 0);
    assert_eq!(store.remove_before(third, 1).await.unwrap(), 1);
    assert_eq!(store.remove_before(third, 10).await.unwrap(), 1);
    assert_eq!(store.remove_before(third, 10).await.unwrap(), 0);
    assert_eq!(store.remove_before(i64::MAX, 1).await.unwrap(), 1);
    assert_eq!(count(store).await, 1);
    // More of them might have come until lately.
    assert_eq!(store.sweep(10).await.unwrap(), 0);
    store.keep(&[bare("h", 2 * HOUR_S)]).await.unwrap();
    store.remove_before(i64::MAX, 1).await.unwrap();
    // Those of which nothing is left.
    assert_eq!(store.sweep(2).await.unwrap(), 2);
    assert_eq!(store.sweep(10).await.unwrap(), 1);
    assert_eq!(store.sweep(10).await.unwrap(), 0);
    assert_eq!(store.find(&ALL).await.unwrap().len(), 1);
    store.remove_before(i64::MAX, 1).await.unwrap();
    assert_eq!(store.sweep(10).await.unwrap(), 1);
}

async fn takes_batches_of_every_size(store: &dyn RecordStore) {
    let source = source("many", EngineName::DOCKER);
    let mut all = 0;
    for size in [1, 3, 4, 35, 256, 257, 600] {
        let from = all + 1;
        let calls: Vec<_> = (from..from + size)
            .map(|second| call(&source, second, CallEnd::Answer))
            .collect();
        assert_eq!(store.keep(&calls).await.unwrap(), size);
        all += size;
    }
    assert_eq!(count(store).await, all);
    let found = store
        .find(&CallFilter {
            limit: 5_000,
            ..ALL
        })
        .await
        .unwrap();
    let order = found
        .iter()
        .map(|placed| placed.call.arrived_us / SECOND_US);
    assert!(order.eq((1..=all).rev()));
    // A source that a sweep took is written anew.
    store.remove_before(i64::MAX, 5_000).await.unwrap();
    assert_eq!(store.sweep(10).await.unwrap(), 1);
    let one = [call(&source, 1, CallEnd::Answer)];
    assert_eq!(store.keep(&one).await.unwrap(), 1);
    assert_eq!(store.find(&ALL).await.unwrap(), one);
    store.remove_before(i64::MAX, 5_000).await.unwrap();
    assert_eq!(store.sweep(10).await.unwrap(), 1);
}

async fn keeps_sources_as_long_as_their_records(store: &dyn RecordStore) {
    let source = source("lasting", EngineName::DOCKER);
    for hour in 1..=5 {
        let one = [call(&source, hour * HOUR_S, CallEnd::Answer)];
        store.keep(&one).await.unwrap();
        let before = place(hour * HOUR_S * SECOND_US, 0);
        store.remove_before(before, 10).await.unwrap();
        assert_eq!(store.sweep(10).await.unwrap(), 0, "{hour}");
        assert_eq!(store.find(&ALL).await.unwrap(), one);
    }
}

#[tokio::test]
async fn sqlite_passes_the_suite_and_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.db");
    let store = SqliteRecords::open(&file).await.unwrap();
    suite(&store).await;
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    store.close().await;
    let again = SqliteRecords::open(&file).await.unwrap();
    assert_eq!(count(&again).await, 1);
}

#[tokio::test]
async fn a_read_that_takes_too_long_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.db");
    let mut store = SqliteRecords::open(&file).await.unwrap();
    let source = source("f", EngineName::DOCKER);
    let calls: Vec<_> = (1..=5_000)
        .map(|second| call(&source, second, CallEnd::Answer))
        .collect();
    store.keep(&calls).await.unwrap();
    let none = CallFilter {
        function: Some("nobody".parse().unwrap()),
        ..ALL
    };
    let patience = std::mem::replace(&mut store.patience, Duration::ZERO);
    for _ in 0..5 {
        let ended = store.find(&none).await;
        assert!(
            matches!(ended, Err(StoreError::Unavailable(_))),
            "{ended:?}"
        );
    }
    store.patience = patience;
    assert_eq!(store.find(&none).await.unwrap(), []);
    assert_eq!(count(&store).await, 5_000);
}

#[tokio::test]
async fn postgres_passes_the_suite_and_survives_an_outage() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let address = server.database("w");
    let functions = PostgresStore::open(&address, "a", Expected::Any)
        .await
        .unwrap();
    let store = PostgresRecords::new(&address);
    suite(&store).await;
    assert_eq!(count(&store).await, 1);
    // Records are no change of a function.
    assert_eq!(crate::Store::load(&functions).await.unwrap().revision, 0);
    server.stop();
    let source = source("late", EngineName::DOCKER);
    let late = [call(&source, 9, CallEnd::Answer)];
    let refused = store.keep(&late).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    server.run();
    assert_eq!(store.keep(&late).await.unwrap(), 1);
    // What was removed a moment before the crash may be back: nothing waits for the disk.
    assert!(count(&store).await >= 2);
    let found = store.find(&ALL).await.unwrap();
    assert!(found.contains(&late[0]), "{found:?}");
}

#[tokio::test]
async fn postgres_says_that_it_is_a_value_which_it_can_t_hold() {
    let Some(server) = Server::start() else {
        return;
    };
    server.sql(
        "postgres",
        "CREATE DATABASE narrow ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'",
    );
    for (address, text) in [
        (server.database("wide"), "a\0b"),
        (server.address("narrow"), "\u{1f407}"),
    ] {
        let _functions = PostgresStore::open(&address, "a", Expected::Any)
            .await
            .unwrap();
        let store = PostgresRecords::new(&address);
        let source = source("f", EngineName::DOCKER);
        let mut calls = [1, 2].map(|second| call(&source, second, CallEnd::Error));
        for placed in &mut calls {
            placed.call.error_type = Some("E".to_owned());
        }
        calls[0].call.error_type = Some(text.to_owned());
        let refused = store.keep(&calls).await;
        assert!(
            matches!(refused, Err(StoreError::Refused { value: true, .. })),
            "{refused:?}"
        );
        assert_eq!(store.keep(&calls[1..]).await.unwrap(), 1);
        assert_eq!(store.find(&ALL).await.unwrap(), calls[1..]);
    }
    // What is wrong with the database is no fault of a value.
    let address = server.address("wide");
    server.sql("wide", "DROP TABLE calls");
    let store = PostgresRecords::new(&address);
    let lost = store
        .keep(&[call(&source("f", EngineName::DOCKER), 3, CallEnd::Answer)])
        .await;
    assert!(
        matches!(lost, Err(StoreError::Refused { value: false, .. })),
        "{lost:?}"
    );
}

#[test]
fn places_are_in_the_order_of_arrival() {
    assert!(place(5, 1_023) < place(6, 1_024));
    assert_ne!(place(5, 1), place(5, 2));
    assert_eq!(place(5, 1), place(5, 1_025));
    assert!(place(u64::MAX, u64::MAX) > place(1_764_000_000_000_000, 0));
}
