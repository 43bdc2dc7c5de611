//! A store whose answers are lost, or that others write to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokio::sync::watch;
use warren_model::{Function, FunctionName, LastUpdate, RevisionId, ServerId, State, Version};
use warren_store::{Contents, Record, Store, StoreError};

use super::kit::*;
use crate::{Guard, Registry, RegistryError};

/// A store whose next change takes place, though it says that it did not; and which others can write to.
struct Liar {
    honest: Arc<dyn Store>,
    lies: AtomicBool,
    revisions: watch::Sender<u64>,
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
    fn revisions(&self) -> Option<watch::Receiver<u64>> {
        Some(self.revisions.subscribe())
    }
}

/// A registry over such a store.
async fn open(folder: &tempfile::TempDir) -> (Arc<Liar>, Registry) {
    let mut parts = World::new(folder).parts().await;
    let liar = Arc::new(Liar {
        honest: Arc::clone(&parts.store),
        lies: AtomicBool::new(false),
        revisions: watch::Sender::new(0),
    });
    parts.store = Arc::clone(&liar) as Arc<dyn Store>;
    (liar, Registry::open(parts).await.unwrap())
}

#[tokio::test]
async fn a_change_in_doubt_is_looked_up_before_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (liar, registry) = open(&folder).await;
    liar.lies.store(true, Ordering::SeqCst);
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

#[tokio::test]
async fn what_another_writer_changed_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (store, registry) = open(&folder).await;
    registry.create(function("f")).await.unwrap();
    settled(&registry, "f").await;
    let mut changed = store.load().await.unwrap().functions.remove(0).function;
    changed.latest.config.description = "by another".to_owned();
    changed.latest.revision = RevisionId::random();
    changed.latest.last_update = Some(LastUpdate::InProgress);
    let revision = store.honest.replace(&changed, None).await.unwrap();
    store.revisions.send_replace(revision);
    let shown = until(&registry, |snapshot| snapshot.revision >= revision).await;
    let version = shown.version(&name("f"), None).unwrap();
    assert_eq!(version.config.description, "by another");
    // What it began is brought to its end.
    assert_eq!(
        settled(&registry, "f").await.last_update,
        Some(LastUpdate::Successful)
    );
}
