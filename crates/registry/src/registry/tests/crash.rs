//! The server ends at any moment, and the next one goes on from what was stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Runtime;
use warren_model::{Function, FunctionName, LastUpdate, ServerId, State, Version};
use warren_store::{Contents, Record, Store, StoreError};

use super::kit::*;
use crate::{Guard, Publish, Registry, RegistryError};

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

/// A store whose next change takes place, though it says that it did not.
struct Liar {
    honest: Arc<dyn Store>,
    lies: AtomicBool,
}

impl Liar {
    fn answer(&self, result: Result<u64, StoreError>) -> Result<u64, StoreError> {
        match self.lies.swap(false, Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("the answer was lost".into())),
            false => result,
        }
    }
}

#[async_trait]
impl Store for Liar {
    async fn load(&self) -> Result<Contents, StoreError> {
        self.honest.load().await
    }
    async fn insert(&self, record: &Record) -> Result<u64, StoreError> {
        self.answer(self.honest.insert(record).await)
    }
    async fn replace(&self, f: &Function, ready: Option<&Version>) -> Result<u64, StoreError> {
        self.answer(self.honest.replace(f, ready).await)
    }
    async fn publish(
        &self,
        f: &Function,
        ready: Option<&Version>,
        version: &Version,
    ) -> Result<u64, StoreError> {
        self.answer(self.honest.publish(f, ready, version).await)
    }
    async fn settle(
        &self,
        f: &Function,
        ready: Option<&Version>,
        versions: &[Version],
    ) -> Result<u64, StoreError> {
        self.answer(self.honest.settle(f, ready, versions).await)
    }
    async fn delete(&self, name: &FunctionName) -> Result<u64, StoreError> {
        self.answer(self.honest.delete(name).await)
    }
    async fn delete_version(&self, name: &FunctionName, number: u64) -> Result<u64, StoreError> {
        self.answer(self.honest.delete_version(name, number).await)
    }
    async fn server_id(&self) -> Result<ServerId, StoreError> {
        self.honest.server_id().await
    }
}

#[tokio::test]
async fn a_change_in_doubt_is_looked_up_before_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder);
    let mut parts = world.parts().await;
    let liar = Arc::new(Liar {
        honest: Arc::clone(&parts.store),
        lies: AtomicBool::new(true),
    });
    parts.store = Arc::clone(&liar) as Arc<dyn Store>;
    let registry = Registry::open(parts).await.unwrap();
    let lost = registry.create(function("f")).await;
    assert!(matches!(lost, Err(RegistryError::Store(_))));
    assert!(registry.snapshot().functions.is_empty());
    let again = registry.create(function("f")).await;
    assert!(
        matches!(again, Err(RegistryError::AlreadyExists { .. })),
        "{again:?}"
    );
    // It was created, so it is prepared as well.
    assert_eq!(settled(&registry, "f").await.state, State::Active);

    // A preparation whose end could not be stored ends at the next attempt.
    registry
        .update_code(&name("f"), zip("2"), &Guard::default(), false, false)
        .await
        .unwrap();
    liar.lies.store(true, Ordering::SeqCst);
    assert_eq!(
        settled(&registry, "f").await.last_update,
        Some(LastUpdate::Successful)
    );
}
