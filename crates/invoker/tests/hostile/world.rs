//! An invoker with all that it needs, over the engine of these tests.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use warren_invoker::{
    Builds, BusyPoll, Completed, Engines, Invocation, InvokeError, Invoker, Launcher, Probes,
};
use warren_model::{
    Account, Config, EngineName, NetworkPolicy, Outcome, RequestId, State, Timestamp, Version,
};
use warren_package::{FileBlobs, Unpacked, zip_inline};
use warren_registry::{NewFunction, Registry};
use warren_runtimes::{Catalogue, Kit, Trees};
use warren_store::{SqliteRecords, SqliteStore};
use warren_telemetry::{CallFilter, FunctionLogs, Origin, PlacedCall, Records, Retention};

use crate::engine::{Agent, FakeEngine};

/// Another name of the same engine.
pub(crate) const OTHER: EngineName = EngineName::named("other");
/// Idle for longer than this, an instance of these tests is asked whether it lives.
pub(crate) const PING_AFTER: Duration = Duration::from_millis(50);

pub(crate) struct World {
    pub(crate) invoker: Invoker,
    pub(crate) registry: Registry,
    pub(crate) engine: Arc<FakeEngine>,
    folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::of(64).await
    }

    /// With at most so many instances.
    pub(crate) async fn of(instances: u32) -> Self {
        Self::with(instances, Duration::ZERO, 0).await
    }

    /// The same, with instances that are frozen after a while, and so many bytes for what is started ahead.
    pub(crate) async fn with(instances: u32, freeze_after: Duration, stem_memory: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let catalogue = Arc::new(Catalogue::built_in().unwrap());
        let recipe = catalogue.resolve("python3.13").unwrap().recipe;
        let tree = path.join("cache/trees").join(recipe.tree_digest().as_str());
        std::fs::create_dir_all(tree.join("rootfs")).unwrap();
        std::fs::write(
            tree.join("tree.toml"),
            "recipe = \"python3.13\"\nsize_bytes = 0\nbuild_ms = 0\nbuilt_at = 0\n",
        )
        .unwrap();
        let run = path.join("run");
        std::fs::create_dir(&run).unwrap();
        let engine = Arc::new(FakeEngine {
            run,
            ..FakeEngine::default()
        });
        let launcher = Arc::new(Launcher {
            memory_mb: 16_384,
            kit: Kit::install(path, &catalogue).unwrap(),
            catalogue: Arc::clone(&catalogue),
            trees: Trees::new(path.join("cache")),
            blobs: Arc::new(FileBlobs::open(&path.join("blobs")).await.unwrap()),
            unpacked: Arc::new(Unpacked::open(&path.join("code")).await.unwrap()),
            run_code: Unpacked::open(&path.join("run-code")).await.unwrap(),
            engines: Engines::from([
                (EngineName::DOCKER, Arc::clone(&engine) as _),
                (OTHER, Arc::clone(&engine) as _),
            ]),
            builds: Builds::default(),
            probes: Probes::default(),
        });
        let registry = Registry::open(warren_registry::Parts {
            store: Arc::new(SqliteStore::open(&path.join("warren.db")).await.unwrap()),
            blobs: Arc::clone(&launcher.blobs),
            unpacked: Arc::clone(&launcher.unpacked),
            ledger: Arc::new(warren_registry::Ledger::open(path).unwrap()),
            catalogue,
            preparer: Arc::clone(&launcher) as _,
            default_engine: EngineName::DOCKER,
            account: Account::default(),
            clock: || Timestamp::from(SystemTime::now()),
        })
        .await
        .unwrap();
        let records = SqliteRecords::open(&path.join("records.db")).await.unwrap();
        let retention = Retention {
            age: Duration::from_secs(3_600),
            number: 1_000_000,
        };
        let records = Records::start(Origin::default(), Arc::new(records), retention);
        let invoker = Invoker::start(warren_invoker::Parts {
            registry: registry.clone(),
            launcher,
            logs: FunctionLogs::open(&path.join("logs")).unwrap(),
            records,
            busy_poll: BusyPoll::new(Duration::from_secs(60)),
            ping_after: PING_AFTER,
            freeze_after,
            stem_memory,
            checkpoints: warren_invoker::Checkpoints::new(path.join("checkpoints"), 0).unwrap(),
            settings: warren_scheduler::Settings::new(16_384, instances),
        });
        Self {
            invoker,
            registry,
            engine,
            folder,
        }
    }

    /// A function whose sandboxes' agents do this. `timeout`: in seconds.
    pub(crate) async fn deploy(&self, name: &str, agent: Agent, timeout: u16) -> Arc<Version> {
        self.deploy_as(name, agent, config(timeout)).await
    }

    /// Has the sandboxes of a function, or without a name those that are started ahead, get this agent from now on.
    pub(crate) fn set_agent(&self, name: &str, agent: Agent) {
        let agents = &self.engine.agents;
        agents.lock().unwrap().insert(name.to_owned(), agent);
    }

    pub(crate) async fn deploy_as(&self, name: &str, agent: Agent, config: Config) -> Arc<Version> {
        self.set_agent(name, agent);
        let name: warren_model::FunctionName = name.parse().unwrap();
        self.registry
            .create(NewFunction {
                name: name.clone(),
                config,
                zip: zip_inline(&[("app.py", "")]).unwrap().into(),
                tags: Default::default(),
                routes: Vec::new(),
                publish: false,
                force: false,
                reserved_concurrency: None,
            })
            .await
            .unwrap();
        let mut changes = self.registry.changes();
        loop {
            let entry = Arc::clone(self.registry.snapshot().function(&name).unwrap());
            assert_ne!(entry.latest.state, State::Failed, "{entry:?}");
            match &entry.ready {
                Some(ready) => break Arc::clone(ready),
                None => changes.changed().await.unwrap(),
            }
        }
    }

    /// How many sandboxes of a function were ended.
    pub(crate) fn killed(&self, name: &str) -> usize {
        self.engine
            .killed
            .lock()
            .unwrap()
            .get(name)
            .copied()
            .unwrap_or(0)
    }

    /// Whether sandboxes can't be removed from now on.
    pub(crate) fn set_stuck(&self, stuck: bool) {
        self.engine.stuck.store(stuck, Ordering::Relaxed);
    }

    /// How many one-shot runs have code on the disk.
    pub(crate) fn run_code(&self) -> usize {
        let folder = self.folder.path().join("run-code");
        let entries = std::fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names.filter(|name| name != ".boot").count()
    }

    /// How many instances have a folder.
    pub(crate) fn instance_folders(&self) -> usize {
        std::fs::read_dir(&self.engine.run).unwrap().count()
    }

    /// Waits until so many sandboxes of a function were ended.
    pub(crate) async fn wait_killed(&self, name: &str, count: usize) {
        while self.killed(name) < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    pub(crate) async fn call(
        &self,
        version: &Arc<Version>,
        event: &str,
        tail: bool,
    ) -> Result<Completed, InvokeError> {
        let invocation = Invocation {
            tail,
            ..invocation(version, event)
        };
        self.invoker.invoke(invocation).await
    }

    /// The records of a function's calls, oldest first, once there are so many.
    pub(crate) async fn records(&self, version: &Version, count: usize) -> Vec<PlacedCall> {
        let filter = CallFilter {
            function: Some(version.function.clone()),
            engine: None,
            outcome: None,
            since_us: None,
            before: None,
            limit: 1_000,
        };
        loop {
            let mut found = self.invoker.records().find(&filter).await.unwrap();
            if found.len() >= count {
                found.reverse();
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn assert_right(&self, version: &Arc<Version>) {
        let completed = self.call(version, "honest", false).await.unwrap();
        assert_eq!(
            completed.outcome,
            Outcome::Answer(Bytes::from_static(b"\"right\""))
        );
    }

    /// The error type and message that the caller of a hostile event gets, and how long it took.
    pub(crate) async fn failure(
        &self,
        version: &Arc<Version>,
        event: &str,
    ) -> (String, String, Duration) {
        let begin = Instant::now();
        let completed = self.call(version, event, false).await.unwrap();
        match completed.outcome {
            Outcome::Failed(failure) => (failure.error_type, failure.message, begin.elapsed()),
            other => panic!("{event}: {other:?}"),
        }
    }
}

pub(crate) fn invocation(version: &Arc<Version>, event: &str) -> Invocation {
    Invocation {
        version: Arc::clone(version),
        engine: None,
        request_id: RequestId::random(),
        payload: Bytes::from(format!("\"{event}\"")),
        arn: "arn:aws:lambda:us-east-1:000000000000:function:f".into(),
        client_context: None,
        trace: None,
        tail: false,
    }
}

pub(crate) fn config(timeout: u16) -> Config {
    Config {
        runtime: "python3.13".into(),
        handler: "app.handler".into(),
        role: "arn:aws:iam::000000000000:role/none".into(),
        description: String::new(),
        timeout: warren_model::Timeout::new(timeout.into()).unwrap(),
        memory: Default::default(),
        ephemeral_storage: Default::default(),
        environment: Default::default(),
        engine: EngineName::DOCKER,
        network: NetworkPolicy::None,
        snap_start: false,
        inert: Default::default(),
    }
}
