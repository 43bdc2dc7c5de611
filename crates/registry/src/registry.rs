//! The handle, and what all changes share; the changes themselves are in the modules below.

mod code;
mod create;
mod delete;
mod follow;
mod preparation;
mod publish;
mod removal;
mod tags;
mod update;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::{Mutex, MutexGuard, RwLock, watch};
use tracing::{error, warn};
use warren_model::{
    Account, Config, Digest, EngineName, Function, FunctionName, RevisionId, Route, Tags,
    Timestamp, Version, VersionId,
};
use warren_package::{BlobStore, Limits, Target, Unpacked, check};
use warren_runtimes::Catalogue;
use warren_store::{Damaged, Standing, Store, StoreError};

pub(crate) use self::code::lacks;
use crate::holds::Holds;
use crate::{
    ConfigPatch, Created, Entry, Guard, Hold, Ledger, NewFunction, Prepare, Publish, RegistryError,
    Snapshot, Updated, states,
};

/// What a registry is made of.
pub struct Parts {
    /// Where functions are kept.
    pub store: Arc<dyn Store>,
    /// Where their zips are kept.
    pub blobs: Arc<dyn BlobStore>,
    /// Where their code is unpacked: the registry removes what is not needed any more.
    pub unpacked: Arc<Unpacked>,
    /// What the removal of code remembers.
    pub ledger: Arc<Ledger>,
    /// The languages there are.
    pub catalogue: Arc<Catalogue>,
    /// What makes versions ready to run.
    pub preparer: Arc<dyn Prepare>,
    /// Of new functions that name none.
    pub default_engine: EngineName,
    /// For ARNs.
    pub account: Account,
    /// What time it is.
    pub clock: fn() -> Timestamp,
}

/// The control plane's handle; clones are the same registry.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    account: Arc<Account>,
    snapshot: ArcSwap<Snapshot>,
    changes: watch::Sender<u64>,
    /// Held by the one change that is being made.
    turn: Mutex<()>,
    /// Set when a write failed in a way that leaves open whether it took place: the next change reads everything again first.
    doubtful: AtomicBool,
    /// The connection to the store over which the snapshot was read: over another one, everything may be different.
    connection: AtomicU64,
    /// The revisions that a task prepares.
    preparing: StdMutex<HashSet<RevisionId>>,
    holds: Holds,
    /// Shared by those who store zips, exclusive to the one who removes some: a zip that was found to be there must not go at that moment.
    zips: RwLock<()>,
}

impl Registry {
    /// Reads all functions, resumes their unfinished preparations, and removes code that nothing refers to. Must be called within tokio.
    pub async fn open(parts: Parts) -> Result<Self, RegistryError> {
        let account = Arc::new(parts.account.clone());
        let connection = connection(parts.store.as_ref());
        let snapshot = read(&parts, &account, None).await?;
        let inner = Arc::new(Inner {
            account,
            changes: watch::Sender::new(snapshot.revision),
            snapshot: ArcSwap::from_pointee(snapshot),
            turn: Mutex::default(),
            doubtful: AtomicBool::new(false),
            connection: AtomicU64::new(connection),
            preparing: StdMutex::default(),
            holds: Holds::default(),
            zips: RwLock::default(),
            parts,
        });
        removal::start(&inner).await;
        preparation::resume(&inner);
        follow::start(&inner);
        code::start(&inner);
        Ok(Self { inner })
    }

    /// All functions as they are now; from memory.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.snapshot.load_full()
    }

    /// The account and region of ARNs.
    pub fn account(&self) -> &Account {
        &self.inner.account
    }

    /// The engine of new functions that name none.
    pub fn default_engine(&self) -> EngineName {
        self.inner.parts.default_engine
    }

    /// The revision of the present snapshot, whenever it changes. The snapshot is there before its revision is.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// What the store is: `sqlite` or `postgres`.
    pub fn store_kind(&self) -> &'static str {
        self.inner.parts.store.kind()
    }

    /// How the store stands.
    pub fn standing(&self) -> Standing {
        self.inner.parts.store.standing()
    }

    /// Why no code is removed, if so.
    pub fn removal_stopped(&self) -> Option<String> {
        self.inner.parts.ledger.stopped()
    }

    /// Creates a function; answers while it is still being prepared.
    pub async fn create(&self, new: NewFunction) -> Result<Created, RegistryError> {
        self.run(async move |inner| inner.create(new).await).await
    }

    /// Replaces the code of `$LATEST`; answers while it is still being prepared. With `dry_run` everything is checked and nothing changed.
    pub async fn update_code(
        &self,
        name: &FunctionName,
        zip: Bytes,
        guard: &Guard,
        publish: bool,
        dry_run: bool,
    ) -> Result<Updated, RegistryError> {
        let (name, guard) = (name.clone(), guard.clone());
        self.run(async move |inner| {
            inner
                .update_code(&name, zip, &guard, publish, dry_run)
                .await
        })
        .await
    }

    /// Changes the configuration of `$LATEST`; answers while it is still being prepared.
    pub async fn update_config(
        &self,
        name: &FunctionName,
        patch: ConfigPatch,
        guard: &Guard,
    ) -> Result<Arc<Version>, RegistryError> {
        let (name, guard) = (name.clone(), guard.clone());
        self.run(async move |inner| inner.update_config(&name, patch, &guard).await)
            .await
    }

    /// Publishes `$LATEST` under the next number; if nothing changed since the last one was published, answers that.
    pub async fn publish(
        &self,
        name: &FunctionName,
        request: Publish,
    ) -> Result<Arc<Version>, RegistryError> {
        let name = name.clone();
        self.run(async move |inner| inner.publish(&name, request).await)
            .await
    }

    /// Deletes a published version, or without one the function with everything that belongs to it. `$LATEST` alone can't be deleted.
    pub async fn delete(
        &self,
        name: &FunctionName,
        version: Option<VersionId>,
    ) -> Result<(), RegistryError> {
        let name = name.clone();
        self.run(async move |inner| inner.delete(&name, version).await)
            .await
    }

    /// Sets or removes the number of calls that are kept for a function and limit it.
    pub async fn set_reserved_concurrency(
        &self,
        name: &FunctionName,
        reserved: Option<u32>,
    ) -> Result<Arc<Function>, RegistryError> {
        let name = name.clone();
        self.run(async move |inner| inner.set_reserved_concurrency(&name, reserved).await)
            .await
    }

    /// Adds these tags, in place of those with the same keys. One that states the engine or a route changes that as well: all routes are then those
    /// of the tags.
    pub async fn set_tags(
        &self,
        name: &FunctionName,
        tags: Tags,
    ) -> Result<Arc<Function>, RegistryError> {
        let name = name.clone();
        self.run(async move |inner| inner.set_tags(&name, tags).await)
            .await
    }

    /// Removes the tags of these keys, and with them what they stated: the engine is then the default, the routes are those of the tags that are left.
    pub async fn remove_tags(
        &self,
        name: &FunctionName,
        keys: &[String],
    ) -> Result<Arc<Function>, RegistryError> {
        let (name, keys) = (name.clone(), keys.to_vec());
        self.run(async move |inner| inner.remove_tags(&name, &keys).await)
            .await
    }

    /// Replaces all routes of a function. Tags that stated routes follow.
    pub async fn set_routes(
        &self,
        name: &FunctionName,
        routes: Vec<Route>,
    ) -> Result<Arc<Function>, RegistryError> {
        let name = name.clone();
        self.run(async move |inner| inner.set_routes(&name, routes).await)
            .await
    }

    /// The zip of a version's code.
    pub async fn code(&self, digest: &Digest) -> Result<Bytes, RegistryError> {
        self.inner.zip(digest).await
    }

    /// Whether the code of this digest is not here; from then on the snapshot says so too. To be asked after a start that failed.
    pub async fn lacks_code(&self, digest: &Digest) -> bool {
        let lacks = self.inner.lacks_code(digest).await.is_some();
        if lacks {
            self.inner.look_for_code().await;
        }
        lacks
    }

    /// Keeps the code of this digest, zip and unpacked, until the hold is dropped: for what runs longer than a call may take.
    pub fn hold(&self, digest: &Digest) -> Hold {
        self.inner.holds.hold(*digest)
    }

    /// A change as a task of its own: between its commit and its snapshot nobody must stop it.
    async fn run<T: Send + 'static, F>(
        &self,
        change: impl FnOnce(Arc<Inner>) -> F,
    ) -> Result<T, RegistryError>
    where
        F: Future<Output = Result<T, RegistryError>> + Send + 'static,
    {
        match tokio::spawn(change(Arc::clone(&self.inner))).await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Everything that is stored, and which of its code is here; `known` is what was read before.
async fn read(
    parts: &Parts,
    account: &Arc<Account>,
    known: Option<&Snapshot>,
) -> Result<Snapshot, StoreError> {
    let contents = parts.store.load().await?;
    let functions: BTreeMap<FunctionName, Arc<Entry>> = contents
        .functions
        .into_iter()
        .map(|record| (record.function.name().clone(), Arc::new(Entry::of(record))))
        .collect();
    let mut damaged = BTreeMap::new();
    for found in contents.damaged {
        let Damaged { name, problem, .. } = &found;
        error!(
            function = name,
            problem,
            "a function in the database can't be read: it is not served until that is corrected there, or it is deleted"
        );
        damaged.insert(name.clone(), found);
    }
    let missing = code::missing(parts, &functions).await;
    code::report(&missing, known.map(|known| &*known.missing), &functions);
    Ok(Snapshot::new(
        contents.revision,
        Arc::clone(account),
        functions,
        Arc::new(damaged),
        Arc::new(missing),
    ))
}

/// The digest of a zip, which may be large.
async fn digest(zip: Bytes) -> Digest {
    match tokio::task::spawn_blocking(move || Digest::of(&zip)).await {
        Ok(digest) => digest,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// What the versions of a function refer to.
fn digests(entry: Option<&Entry>) -> HashSet<Digest> {
    let versions = entry.into_iter().flat_map(Entry::all_versions);
    versions.map(|version| version.code.digest).collect()
}

/// The number of the present connection to a store.
fn connection(store: &dyn Store) -> u64 {
    store
        .sightings()
        .map_or(0, |sightings| sightings.borrow().connection)
}

/// The right to change something, and what there is.
struct Turn<'r> {
    inner: &'r Inner,
    snapshot: Arc<Snapshot>,
    _turn: MutexGuard<'r, ()>,
}

impl Inner {
    fn now(&self) -> Timestamp {
        (self.parts.clock)()
    }

    /// Waits for the changes before.
    async fn turn(self: &Arc<Self>) -> Result<Turn<'_>, RegistryError> {
        let turn = self.turn.lock().await;
        if self.in_doubt() {
            self.reload().await?;
        }
        Ok(Turn {
            inner: self,
            snapshot: self.snapshot.load_full(),
            _turn: turn,
        })
    }

    /// Whether the snapshot may not be what is stored.
    fn in_doubt(&self) -> bool {
        self.doubtful.load(Ordering::Acquire)
            || self.connection.load(Ordering::Acquire) != connection(self.parts.store.as_ref())
    }

    /// Reads everything again, in the turn of the caller. Until that is done, what is here is in doubt.
    async fn reload(self: &Arc<Self>) -> Result<(), StoreError> {
        self.doubtful.store(true, Ordering::Release);
        let connection = connection(self.parts.store.as_ref());
        let known = self.snapshot.load_full();
        let snapshot = read(&self.parts, &self.account, Some(&known)).await?;
        let before = known.revision;
        if snapshot.revision < before {
            let why = format!(
                "the database is older than it was: its revision is {}, it was {before}",
                snapshot.revision
            );
            if let Err(error) = self.parts.ledger.stop(&why) {
                error!(%error, "can't write down why code is not removed: that holds until this server ends");
            }
        }
        self.show(snapshot);
        let needed = self.needed();
        let ledger = &self.parts.ledger;
        ledger.changed(&needed, &HashSet::new(), self.now());
        self.connection.store(connection, Ordering::Release);
        self.doubtful.store(false, Ordering::Release);
        // What was not known before may be in preparation.
        preparation::resume(self);
        Ok(())
    }

    /// Publishes a snapshot, then its revision.
    fn show(&self, snapshot: Snapshot) {
        let revision = snapshot.revision;
        self.snapshot.store(Arc::new(snapshot));
        self.changes.send_replace(revision);
    }

    /// Whether a function of this configuration could be prepared and run here.
    async fn admit(&self, config: &Config, force: bool) -> Result<(), RegistryError> {
        config.validate()?;
        self.parts.catalogue.resolve(&config.runtime)?;
        Ok(self.parts.preparer.admit(config, force).await?)
    }

    /// What code of this runtime runs on.
    fn target(&self, runtime: &str) -> Result<Target, RegistryError> {
        let recipe = self.parts.catalogue.resolve(runtime)?.recipe;
        Ok(Target::here(&recipe.family, runtime, &recipe.id))
    }

    /// Checks a zip and keeps it, held until the caller has stored what refers to it. Nothing is written before the check has passed.
    async fn keep(&self, zip: Bytes, target: Target) -> Result<Hold, RegistryError> {
        check(zip.clone(), Limits::default(), target).await?;
        let _zips = self.zips.read().await;
        let digest = digest(zip.clone()).await;
        let hold = self.holds.hold(digest);
        // Should nothing come to refer to it, that is known to be this server's doing.
        if !self.needed().contains(&digest) {
            let ledger = &self.parts.ledger;
            let written = ledger.release([digest], self.now()).await;
            written.map_err(RegistryError::Ledger)?;
        }
        self.parts.blobs.put(zip).await?;
        if self.snapshot.load().missing.of(&digest).is_some() {
            self.look_for_code().await;
        }
        Ok(hold)
    }
}

impl Turn<'_> {
    fn entry(&self, name: &FunctionName) -> Result<Arc<Entry>, RegistryError> {
        let entry = self.snapshot.function(name).cloned();
        Ok(entry.ok_or_else(|| self.snapshot.not_found(name, None))?)
    }

    /// The entry, if `$LATEST` is not being prepared: then it may be updated or published.
    fn settled(&self, name: &FunctionName, guard: &Guard) -> Result<Arc<Entry>, RegistryError> {
        let entry = self.entry(name)?;
        let latest = &entry.latest;
        if states::in_preparation(latest) {
            return Err(match latest.last_update {
                None => RegistryError::NotActive {
                    state: latest.state,
                },
                Some(_) => RegistryError::UpdateInProgress {
                    arn: self.inner.account.function_arn(name),
                },
            });
        }
        match &guard.revision {
            Some(revision) if *revision != latest.revision => Err(RegistryError::StaleRevision),
            _ => Ok(entry),
        }
    }

    /// What nothing refers to any more once the function is so, or gone.
    fn released(&self, name: &FunctionName, after: Option<&Entry>) -> HashSet<Digest> {
        let damaged = &self.snapshot.damaged;
        let mut before = digests(self.snapshot.function(name).map(Arc::as_ref));
        before.extend(damaged.get(name.as_str()).iter().flat_map(|it| &it.code));
        let mut released = &before - &digests(after);
        if !released.is_empty() {
            let functions = self.snapshot.functions.iter();
            for (_, entry) in functions.filter(|(other, _)| *other != name) {
                for version in entry.all_versions() {
                    released.remove(&version.code.digest);
                }
            }
            let others = damaged.iter().filter(|(other, _)| *other != name.as_str());
            for digest in others.flat_map(|(_, damaged)| &damaged.code) {
                released.remove(digest);
            }
        }
        released
    }

    /// Writes down what a change will release, before it is stored. Where that can't be written, a server that is killed meanwhile takes it for somebody
    /// else's doing, and no more than that.
    async fn announce(&self, name: &FunctionName, after: Option<&Entry>) {
        let released = self.released(name, after);
        let ledger = &self.inner.parts.ledger;
        if let Err(error) = ledger.release(released, self.inner.now()).await {
            warn!(%error, "can't write down which code is not needed");
        }
    }

    /// The end of every change: what the store answered, then the snapshot with the changed entry.
    fn commit(
        self,
        name: &FunctionName,
        stored: Result<u64, StoreError>,
        entry: Option<Entry>,
    ) -> Result<(), RegistryError> {
        match stored {
            Ok(revision) => {
                let released = self.released(name, entry.as_ref());
                let ledger = &self.inner.parts.ledger;
                ledger.changed(&digests(entry.as_ref()), &released, self.inner.now());
                let snapshot = self.snapshot.with(revision, name, entry.map(Arc::new));
                self.inner.show(snapshot);
                Ok(())
            }
            Err(error) => {
                self.inner.doubtful.store(true, Ordering::Release);
                Err(error.into())
            }
        }
    }
}

#[cfg(test)]
mod tests;
