//! A registry over real SQLite and real files in a temporary folder, with a preparer that does as it is told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;
use warren_model::{Account, Config, EngineName, FunctionName, NetworkPolicy, Qualifier, Version};
use warren_package::{FileBlobs, Unpacked, zip_inline};
use warren_runtimes::Catalogue;
use warren_store::SqliteStore;

use crate::{Ledger, NewFunction, Parts, Prepare, PrepareError, Refusal, Registry, Snapshot};

/// Prepares when it has a permit; its outcome is written in the description.
pub(super) struct Preparer(Semaphore);

#[async_trait]
impl Prepare for Preparer {
    async fn admit(&self, config: &Config, _force: bool) -> Result<(), Refusal> {
        match config.description.as_str() {
            "refuse" => Err(Refusal {
                field: "engine".to_owned(),
                reason: "The engine can't.".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    async fn prepare(&self, version: &Version) -> Result<(), PrepareError> {
        self.0.acquire().await.expect("open").forget();
        match version.config.description.as_str() {
            "fail" => Err(PrepareError {
                code: "InvalidRuntime".to_owned(),
                message: "no tree".to_owned(),
            }),
            "panic" => panic!("as it was told"),
            _ => Ok(()),
        }
    }
}

/// A data folder, and how a server over it behaves.
#[derive(Clone)]
pub(super) struct World {
    pub(super) folder: PathBuf,
    pub(super) preparer: Arc<Preparer>,
}

impl World {
    /// Every preparation ends at once.
    pub(super) fn new(folder: &tempfile::TempDir) -> Self {
        let world = Self::held(folder);
        world.let_through(1_000);
        world
    }

    /// Preparations wait to be let through.
    pub(super) fn held(folder: &tempfile::TempDir) -> Self {
        Self {
            folder: folder.path().to_path_buf(),
            preparer: Arc::new(Preparer(Semaphore::new(0))),
        }
    }

    pub(super) fn let_through(&self, preparations: usize) {
        self.preparer.0.add_permits(preparations);
    }

    pub(super) async fn parts(&self) -> Parts {
        Parts {
            store: Arc::new(
                SqliteStore::open(&self.folder.join("control.db"))
                    .await
                    .unwrap(),
            ),
            blobs: Arc::new(FileBlobs::open(&self.folder.join("blobs")).await.unwrap()),
            unpacked: Arc::new(Unpacked::open(&self.folder.join("code")).await.unwrap()),
            ledger: Arc::new(Ledger::open(&self.folder).unwrap()),
            catalogue: Arc::new(Catalogue::built_in().unwrap()),
            preparer: Arc::clone(&self.preparer) as Arc<dyn Prepare>,
            default_engine: EngineName::DOCKER,
            account: Account::default(),
            clock: || SystemTime::now().into(),
        }
    }

    pub(super) async fn open(&self) -> Registry {
        Registry::open(self.parts().await).await.unwrap()
    }
}

pub(super) fn name(text: &str) -> FunctionName {
    text.parse().unwrap()
}

pub(super) fn qualifier(text: &str) -> Qualifier {
    text.parse().unwrap()
}

/// A zip of one file with this content.
pub(super) fn zip(content: &str) -> Bytes {
    zip_inline(&[("app.py", content)]).unwrap().into()
}

pub(super) fn function(text: &str) -> NewFunction {
    NewFunction {
        name: name(text),
        config: Config {
            runtime: "python3.13".to_owned(),
            handler: "app.handler".to_owned(),
            role: "arn:aws:iam::000000000000:role/r".to_owned(),
            description: String::new(),
            timeout: Default::default(),
            memory: Default::default(),
            ephemeral_storage: Default::default(),
            environment: Default::default(),
            engine: EngineName::DOCKER,
            network: NetworkPolicy::None,
            snap_start: false,
            inert: BTreeMap::new(),
        },
        zip: zip("1"),
        tags: BTreeMap::new(),
        routes: Vec::new(),
        reserved_concurrency: None,
        publish: false,
        force: false,
    }
}

pub(super) fn described(text: &str, description: &str) -> NewFunction {
    let mut new = function(text);
    new.config.description = description.to_owned();
    new
}

/// Longest wait for a state in these tests.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until the snapshot is so.
pub(super) async fn until(registry: &Registry, so: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
    let mut changes = registry.changes();
    tokio::time::timeout(PATIENCE, async {
        loop {
            let snapshot = registry.snapshot();
            if so(&snapshot) {
                return snapshot;
            }
            changes.changed().await.unwrap();
        }
    })
    .await
    .expect("the state comes in time")
}

/// Waits until nothing of the function is in preparation.
pub(super) async fn settled(registry: &Registry, text: &str) -> Arc<Version> {
    let name = name(text);
    let snapshot = until(registry, |snapshot| {
        let latest = snapshot.version(&name, None).unwrap();
        !crate::states::in_preparation(latest)
    })
    .await;
    Arc::clone(snapshot.version(&name, None).unwrap())
}

/// What a moment later has to be equal: all entries.
pub(super) fn entries(registry: &Registry) -> Vec<crate::Entry> {
    let snapshot = registry.snapshot();
    snapshot
        .functions
        .values()
        .map(|e| crate::Entry::clone(e))
        .collect()
}
