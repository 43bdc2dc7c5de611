//! The server ends at any moment, and the next one goes on from what was stored.

use std::time::Duration;

use tokio::runtime::Runtime;
use warren_model::{LastUpdate, State};

use super::kit::*;
use crate::{Guard, Publish};

/// A server's life: what runs in it ends in the middle when it does.
fn life<T>(work: impl AsyncFnOnce() -> T) -> T {
    let runtime = Runtime::new().unwrap();
    let result = runtime.block_on(work());
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}

#[test]
fn everything_is_as_it_was_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder);
    let before = life(async || {
        let registry = world.open().await;
        let mut new = function("f");
        new.routes = vec!["GET /f".parse().unwrap()];
        new.tags.insert("team".to_owned(), "x".to_owned());
        new.publish = true;
        registry.create(new).await.unwrap();
        settled(&registry, "f").await;
        registry.create(described("failed", "fail")).await.unwrap();
        settled(&registry, "failed").await;
        registry
            .update_code(&name("f"), zip("2"), &Guard::default(), true, false)
            .await
            .unwrap();
        settled(&registry, "f").await;
        registry
            .set_reserved_concurrency(&name("f"), Some(2))
            .await
            .unwrap();
        (entries(&registry), registry.snapshot().revision)
    });
    life(async || {
        let registry = world.open().await;
        assert_eq!((entries(&registry), registry.snapshot().revision), before);
        assert_eq!(
            registry
                .code(&before.0[0].latest.code.digest)
                .await
                .unwrap(),
            zip("2")
        );
        let same = registry
            .publish(&name("f"), Publish::default())
            .await
            .unwrap();
        assert_eq!(Some(&same), before.0[0].last_published());
    });
}

#[test]
fn an_unfinished_creation_is_finished_by_the_next_server() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::held(&folder);
    life(async || {
        let mut new = function("f");
        new.publish = true;
        world.open().await.create(new).await.unwrap();
    });
    life(async || {
        let registry = world.open().await;
        assert_eq!(entries(&registry)[0].latest.state, State::Pending);
        world.let_through(1);
        assert_eq!(settled(&registry, "f").await.state, State::Active);
        let snapshot = registry.snapshot();
        assert!(snapshot.ready(&name("f"), Some(&qualifier("1"))).is_ok());
    });
}

#[test]
fn calls_go_to_the_old_version_across_a_crash_in_an_update() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::held(&folder);
    let old = life(async || {
        let registry = world.open().await;
        registry.create(function("f")).await.unwrap();
        world.let_through(1);
        let old = settled(&registry, "f").await;
        registry
            .update_code(&name("f"), zip("2"), &Guard::default(), false, false)
            .await
            .unwrap();
        old
    });
    life(async || {
        let registry = world.open().await;
        let during = registry.snapshot();
        assert_eq!(during.ready(&name("f"), None).unwrap(), &old);
        assert_eq!(
            during.version(&name("f"), None).unwrap().last_update,
            Some(LastUpdate::InProgress)
        );
        assert_eq!(registry.code(&old.code.digest).await.unwrap(), zip("1"));
        world.let_through(1);
        let new = settled(&registry, "f").await;
        assert_eq!(registry.snapshot().ready(&name("f"), None).unwrap(), &new);
    });
}
