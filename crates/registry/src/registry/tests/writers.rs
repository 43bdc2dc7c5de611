//! A store whose answers are lost, or that others write to.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use warren_model::{Function, FunctionName, LastUpdate, RevisionId, ServerId, State, Version};
use warren_store::{Contents, Record, Sighting, Standing, Store, StoreError};

use super::kit::*;
use crate::{Guard, Registry, RegistryError};

/// A store whose next change takes place, though it says that it did not; and which others can write to.
struct Liar {
    honest: Arc<dyn Store>,
    lies: AtomicBool,
    sightings: watch::Sender<Sighting>,
    standing: StdMutex<Standing>,
    /// How many times everything was read.
    loads: AtomicU64,
    /// Whether the next readings fail.
    unreadable: AtomicBool,
    /// What is read in place of what is there.
    instead: StdMutex<Option<Contents>>,
}

impl Liar {
    fn saw(&self, revision: u64, connection: u64) {
        let sighting = Sighting {
            revision,
            connection,
        };
        self.sightings.send_replace(sighting);
    }

    fn loads(&self) -> u64 {
        self.loads.load(Ordering::SeqCst)
    }

    fn answer(&self, result: Result<u64, StoreError>) -> Result<u64, StoreError> {
        match self.lies.swap(false, Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("the answer was lost".into())),
            false => result,
        }
    }
}

#[async_trait]
impl Store for Liar {
    fn kind(&self) -> &'static str {
        self.honest.kind()
    }

    async fn load(&self) -> Result<Contents, StoreError> {
        if let Standing::Lost(holder) = self.standing() {
            return Err(StoreError::Owned { holder });
        }
        self.loads.fetch_add(1, Ordering::SeqCst);
        let instead = self.instead.lock().unwrap().clone();
        match self.unreadable.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("cut".into())),
            false => match instead {
                Some(contents) => Ok(contents),
                None => self.honest.load().await,
            },
        }
    }
    async fn insert(&self, based_on: u64, record: &Record) -> Result<u64, StoreError> {
        self.answer(self.honest.insert(based_on, record).await)
    }
    async fn replace(
        &self,
        based_on: u64,
        f: &Function,
        ready: Option<&Version>,
    ) -> Result<u64, StoreError> {
        self.answer(self.honest.replace(based_on, f, ready).await)
    }
    async fn publish(
        &self,
        based_on: u64,
        f: &Function,
        ready: Option<&Version>,
        version: &Version,
    ) -> Result<u64, StoreError> {
        self.answer(self.honest.publish(based_on, f, ready, version).await)
    }
    async fn settle(
        &self,
        based_on: u64,
        f: &Function,
        ready: Option<&Version>,
        versions: &[Version],
    ) -> Result<u64, StoreError> {
        self.answer(self.honest.settle(based_on, f, ready, versions).await)
    }
    async fn delete(&self, based_on: u64, name: &FunctionName) -> Result<u64, StoreError> {
        self.answer(self.honest.delete(based_on, name).await)
    }
    async fn delete_version(
        &self,
        based_on: u64,
        name: &FunctionName,
        number: u64,
    ) -> Result<u64, StoreError> {
        self.answer(self.honest.delete_version(based_on, name, number).await)
    }
    async fn server_id(&self) -> Result<ServerId, StoreError> {
        self.honest.server_id().await
    }
    fn sightings(&self) -> Option<watch::Receiver<Sighting>> {
        Some(self.sightings.subscribe())
    }
    fn standing(&self) -> Standing {
        self.standing.lock().unwrap().clone()
    }
}

/// A registry over such a store.
async fn open(folder: &tempfile::TempDir) -> (Arc<Liar>, Registry) {
    over(&World::new(folder)).await
}

async fn over(world: &World) -> (Arc<Liar>, Registry) {
    let mut parts = world.parts().await;
    let liar = Arc::new(Liar {
        honest: Arc::clone(&parts.store),
        lies: AtomicBool::new(false),
        sightings: watch::Sender::default(),
        standing: StdMutex::new(Standing::Ours),
        loads: AtomicU64::new(0),
        unreadable: AtomicBool::new(false),
        instead: StdMutex::default(),
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
    let before = store.load().await.unwrap();
    let mut changed = before.functions[0].function.clone();
    changed.latest.config.description = "by another".to_owned();
    changed.latest.revision = RevisionId::random();
    changed.latest.last_update = Some(LastUpdate::InProgress);
    let revision = store
        .honest
        .replace(before.revision, &changed, None)
        .await
        .unwrap();
    store.saw(revision, 0);
    let shown = until(&registry, |snapshot| snapshot.revision >= revision).await;
    let version = shown.version(&name("f"), None).unwrap();
    assert_eq!(version.config.description, "by another");
    // What it began is brought to its end.
    assert_eq!(
        settled(&registry, "f").await.last_update,
        Some(LastUpdate::Successful)
    );
}

/// Waits for what comes soon.
async fn soon(what: &str, so: impl AsyncFn() -> bool) {
    let waited = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waited).await;
    waited.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn another_connection_is_another_database_until_it_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let (store, registry) = open(&folder).await;
    registry.create(function("f")).await.unwrap();
    settled(&registry, "f").await;
    let revision = registry.snapshot().revision;
    store.saw(revision, 0);
    let mut changed = store.load().await.unwrap().functions.remove(0).function;
    changed.latest.config.description = "older".to_owned();
    store
        .honest
        .replace(revision, &changed, None)
        .await
        .unwrap();
    // The same number as before, another state: as if the change had never been.
    store.unreadable.store(true, Ordering::SeqCst);
    store.saw(revision, 1);
    let refused = registry.set_tags(&name("f"), Default::default()).await;
    assert!(
        matches!(refused, Err(RegistryError::Store(_))),
        "nothing is computed from what may be gone: {refused:?}"
    );
    store.unreadable.store(false, Ordering::SeqCst);
    soon("it is read", async || {
        let snapshot = registry.snapshot();
        let latest = snapshot.version(&name("f"), None).unwrap();
        latest.config.description == "older"
    })
    .await;
}

#[tokio::test]
async fn an_older_state_is_shown_and_stops_the_removal_of_code() {
    let folder = tempfile::tempdir().unwrap();
    let (store, registry) = open(&folder).await;
    registry.create(function("f")).await.unwrap();
    settled(&registry, "f").await;
    let code = registry.snapshot().functions[&name("f")].latest.code.digest;
    assert_eq!(registry.removal_stopped(), None);
    // A restored backup: no function, and a lower revision.
    let empty = tempfile::tempdir().unwrap();
    let backup = World::new(&empty).parts().await.store;
    let contents = backup.load().await.unwrap();
    assert_eq!(contents.revision, 0);
    *store.instead.lock().unwrap() = Some(contents);
    store.saw(0, 0);
    until(&registry, |snapshot| snapshot.functions.is_empty()).await;
    let why = registry.removal_stopped().unwrap();
    assert!(why.contains("older"), "{why}");
    for days in 1..10 {
        let now = registry
            .inner
            .now()
            .plus(Duration::from_secs(days * 100_000));
        registry.inner.remove_unneeded(now).await;
    }
    assert!(registry.code(&code).await.is_ok());
}

#[tokio::test]
async fn a_look_from_before_an_own_change_costs_no_reading() {
    let folder = tempfile::tempdir().unwrap();
    let (store, registry) = open(&folder).await;
    registry.create(function("f")).await.unwrap();
    settled(&registry, "f").await;
    let (loads, revision) = (store.loads(), registry.snapshot().revision);
    store.saw(revision - 1, 0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    store.saw(revision, 0);
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(store.loads(), loads);
    assert_eq!(registry.removal_stopped(), None);
}

#[tokio::test]
async fn a_failed_reading_leaves_everything_in_doubt() {
    let folder = tempfile::tempdir().unwrap();
    let (store, registry) = open(&folder).await;
    registry.create(function("f")).await.unwrap();
    settled(&registry, "f").await;
    store.unreadable.store(true, Ordering::SeqCst);
    let loads = store.loads();
    store.saw(99, 0);
    soon("it is tried", async || store.loads() > loads).await;
    let refused = registry.create(function("g")).await;
    assert!(
        matches!(refused, Err(RegistryError::Store(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_server_that_lost_its_database_is_frozen() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::held(&folder);
    let (store, registry) = over(&world).await;
    registry.create(function("f")).await.unwrap();
    let snapshot = registry.snapshot();
    *store.standing.lock().unwrap() = Standing::Lost("another".to_owned());
    let loads = store.loads();
    // Neither what is seen there, nor the end of a preparation, nor time changes anything here.
    store.saw(99, 7);
    world.let_through(1);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let later = registry.inner.now().plus(Duration::from_secs(1_000_000));
    registry.inner.remove_unneeded(later).await;
    let refused = registry.create(function("g")).await;
    let outage = refused.unwrap_err().outage().unwrap();
    assert!(outage.contains("lost"), "{outage}");
    assert_eq!(store.loads(), loads);
    assert!(Arc::ptr_eq(&registry.snapshot(), &snapshot));
    let code = snapshot.functions[&name("f")].latest.code.digest;
    assert!(registry.code(&code).await.is_ok());
}

#[tokio::test]
async fn a_damaged_function_is_no_other_s_concern() {
    let folder = tempfile::tempdir().unwrap();
    let (store, registry) = open(&folder).await;
    let mut new = function("bad");
    new.routes = vec!["GET /bad".parse().unwrap()];
    registry.create(new).await.unwrap();
    registry.create(function("good")).await.unwrap();
    settled(&registry, "bad").await;
    settled(&registry, "good").await;
    let mut contents = store.load().await.unwrap();
    let bad = contents.functions.remove(0).function;
    contents.damaged.push(warren_store::Damaged {
        name: "bad".to_owned(),
        routes: bad.routes.clone(),
        code: vec![bad.latest.code.digest],
        reserved: Some(800),
        problem: "the row is damaged".to_owned(),
    });
    contents.revision += 1;
    store.saw(contents.revision, 0);
    *store.instead.lock().unwrap() = Some(contents);
    let snapshot = until(&registry, |snapshot| !snapshot.damaged.is_empty()).await;
    assert!(snapshot.ready(&name("good"), None).is_ok());
    let refused = snapshot.version(&name("bad"), None).unwrap_err();
    assert!(refused.damage().is_some());
    let found = snapshot.routes.find("GET", "/bad");
    assert!(matches!(found, warren_model::RouteMatch::Found { .. }));
    let again = registry.create(function("bad")).await;
    assert!(
        matches!(&again, Err(RegistryError::NotFound(missing)) if missing.damaged),
        "{again:?}"
    );
    // What it reserves is reserved still.
    assert_eq!(snapshot.reserved_concurrency(), 800);
    let mut greedy = function("greedy");
    greedy.reserved_concurrency = Some(200);
    let refused = registry.create(greedy).await;
    assert!(
        matches!(refused, Err(RegistryError::TooMuchReserved { .. })),
        "{refused:?}"
    );
    // So is one whose name is none: it can't be asked for, and is counted.
    let mut contents = store.load().await.unwrap();
    contents.damaged[0].name = "not a name".to_owned();
    contents.revision += 1;
    store.saw(contents.revision, 0);
    *store.instead.lock().unwrap() = Some(contents);
    let snapshot = until(&registry, |snapshot| {
        snapshot.damaged.contains_key("not a name")
    })
    .await;
    assert_eq!(snapshot.damaged.len(), 1);
    // Its code may be needed once it is mended.
    let later = registry.inner.now().plus(Duration::from_secs(1_000_000));
    registry.inner.remove_unneeded(later).await;
    assert!(registry.code(&bad.latest.code.digest).await.is_ok());
}

#[tokio::test]
async fn the_code_of_a_damaged_function_that_is_deleted_is_no_alarm() {
    let folder = tempfile::tempdir().unwrap();
    let (store, registry) = open(&folder).await;
    registry.create(function("bad")).await.unwrap();
    let bad = settled(&registry, "bad").await;
    let mut contents = store.load().await.unwrap();
    contents.functions.clear();
    contents.damaged.push(warren_store::Damaged {
        name: "bad".to_owned(),
        routes: Vec::new(),
        code: vec![bad.code.digest],
        reserved: None,
        problem: "the row is damaged".to_owned(),
    });
    *store.instead.lock().unwrap() = Some(contents.clone());
    store.saw(contents.revision, 1);
    until(&registry, |snapshot| !snapshot.damaged.is_empty()).await;
    *store.instead.lock().unwrap() = None;
    registry.delete(&name("bad"), None).await.unwrap();
    registry.inner.remove_unneeded(registry.inner.now()).await;
    assert_eq!(registry.removal_stopped(), None);
    assert!(registry.code(&bad.code.digest).await.is_ok(), "not yet");
    // As that of any function that this server deleted.
    let later = registry.inner.now().plus(Duration::from_secs(3_600));
    registry.inner.remove_unneeded(later).await;
    assert!(registry.code(&bad.code.digest).await.is_err());
}
