use std::{collections::HashSet, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
};
use warren_client::{Client, Key};
use warren_engine::{
    Capabilities, Engine, EngineError, Refusal as EngineRefusal, Sandbox, SandboxSpec, Unavailable,
};
use warren_invoker::{Engines, Invoker, Launcher};
use warren_model::{
    Account, Config, EngineName, InstanceId, NetworkPolicy, Timestamp, Version,
    native::{Function, FunctionSpec},
};
use warren_package::{FileBlobs, Unpacked};
use warren_registry::{Prepare, PrepareError, Refusal, Registry};
use warren_runtimes::{Catalogue, Kit, Tree, Trees};
use warren_store::SqliteStore;
use warren_telemetry::FunctionLogs;

use crate::{Api, Surroundings, auth::Keys, serve_control};

/// An engine that prepares when it has a permit, runs nothing, and refuses to reach the internet.
struct NoEngine(Arc<Semaphore>);

#[async_trait]
impl Engine for NoEngine {
    fn name(&self) -> EngineName {
        EngineName::DOCKER
    }

    async fn probe(&self) -> Result<Capabilities, Unavailable> {
        Ok(Capabilities {
            detail: "No engine at all".to_owned(),
        })
    }

    fn admit(&self, config: &Config) -> Result<(), EngineRefusal> {
        match config.network {
            NetworkPolicy::None => Ok(()),
            _ => Err(EngineRefusal {
                field: "network",
                message: "The network is not there.".to_owned(),
            }),
        }
    }

    fn default_network(&self) -> NetworkPolicy {
        NetworkPolicy::None
    }

    async fn prepare(&self, _tree: &Tree, _config: &Config) -> Result<(), EngineError> {
        self.0.acquire().await.expect("open").forget();
        Ok(())
    }

    async fn start(&self, _spec: SandboxSpec) -> Result<Arc<dyn Sandbox>, EngineError> {
        Err(EngineError::NotASocket)
    }

    async fn reap(&self, _keep: &HashSet<InstanceId>) -> Result<usize, EngineError> {
        Ok(0)
    }
}

/// Prepares when it has a permit; the handler `app.broken` can't be prepared.
struct Preparer(Arc<Semaphore>);

#[async_trait]
impl Prepare for Preparer {
    async fn admit(&self, _config: &Config, _force: bool) -> Result<(), Refusal> {
        Ok(())
    }

    async fn prepare(&self, version: &Version) -> Result<(), PrepareError> {
        self.0.acquire().await.expect("open").forget();
        match version.config.handler.as_str() {
            "app.broken" => Err(PrepareError {
                code: "InternalError".to_owned(),
                message: "It is broken.".to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// A server, and a client that has its key.
pub(super) struct World {
    pub(super) client: Client,
    pub(super) api: Api,
    pub(super) url: String,
    pub(super) logs: FunctionLogs,
    pub(super) stop: watch::Sender<bool>,
    permits: Arc<Semaphore>,
    server: JoinHandle<()>,
    _folder: TempDir,
}

impl World {
    /// Every preparation ends at once.
    pub(super) async fn start() -> Self {
        let world = Self::held().await;
        world.let_through(1_000);
        world
    }

    /// Preparations wait to be let through.
    pub(super) async fn held() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let catalogue = Arc::new(Catalogue::built_in().unwrap());
        let permits = Arc::new(Semaphore::new(0));
        let launcher = Arc::new(Launcher {
            memory_mb: 4_096,
            builds: warren_invoker::Builds::default(),
            probes: warren_invoker::Probes::default(),
            kit: Kit::install(path, &catalogue).unwrap(),
            catalogue: Arc::clone(&catalogue),
            trees: Trees::new(path.join("cache")),
            blobs: Arc::new(FileBlobs::open(&path.join("blobs")).await.unwrap()),
            unpacked: Arc::new(Unpacked::open(&path.join("code")).await.unwrap()),
            run_code: Unpacked::open(&path.join("run-code")).await.unwrap(),
            engines: Engines::from([(
                EngineName::DOCKER,
                Arc::new(NoEngine(Arc::clone(&permits))) as _,
            )]),
        });
        let registry = Registry::open(warren_registry::Parts {
            store: Arc::new(SqliteStore::open(&path.join("warren.db")).await.unwrap()),
            blobs: Arc::clone(&launcher.blobs),
            unpacked: Arc::clone(&launcher.unpacked),
            ledger: Arc::new(warren_registry::Ledger::open(path).unwrap()),
            catalogue,
            preparer: Arc::new(Preparer(Arc::clone(&permits))),
            default_engine: EngineName::DOCKER,
            account: Account::default(),
            clock: || Timestamp::from(SystemTime::now()),
        })
        .await
        .unwrap();
        let logs = FunctionLogs::open(&path.join("logs")).unwrap();
        let records = warren_store::SqliteRecords::open(&path.join("records.db"))
            .await
            .unwrap();
        let retention = warren_telemetry::Retention {
            age: std::time::Duration::from_secs(3_600),
            number: 1_000,
        };
        let records = warren_telemetry::Records::start(
            warren_telemetry::Origin::default(),
            Arc::new(records),
            retention,
        );
        let invoker = Invoker::start(warren_invoker::Parts {
            registry: registry.clone(),
            launcher,
            logs: logs.clone(),
            records,
            settings: warren_scheduler::Settings::new(1_024, 4),
            busy_poll: warren_invoker::BusyPoll::new(std::time::Duration::ZERO),
            ping_after: std::time::Duration::from_secs(60),
            freeze_after: std::time::Duration::ZERO,
            stem_memory: 0,
            checkpoints: warren_invoker::Checkpoints::new(path.join("checkpoints"), 0).unwrap(),
        });
        let keys = Keys::new("WARREN1".to_owned(), "secret".to_owned());
        let stop = watch::Sender::new(false);
        let surroundings = Surroundings {
            logs: Some(logs.clone()),
            routes_listen: Some("127.0.0.1:7071".parse().unwrap()),
            stopping: Some(stop.subscribe()),
        };
        let api = Api::new(registry, invoker, keys, Account::default());
        let served = api.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self {
            client: Client::new(&url, Some(&Key::new("WARREN1", "secret"))).unwrap(),
            server: tokio::spawn(serve_control(
                listener,
                served,
                surroundings,
                std::future::pending(),
            )),
            api,
            url,
            logs,
            stop,
            permits,
            _folder: folder,
        }
    }

    pub(super) fn let_through(&self, preparations: usize) {
        self.permits.add_permits(preparations);
    }

    /// The function once it is not being prepared any more.
    pub(super) async fn settled(&self, name: &str) -> Function {
        loop {
            let function = self.client.function(name).await.unwrap();
            if !function.in_preparation() {
                return function;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Deploys and waits.
    pub(super) async fn deploy(&self, name: &str, spec: &FunctionSpec) -> Function {
        self.client.deploy(name, spec).await.unwrap();
        self.settled(name).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// What a function needs.
pub(super) fn spec(source: &str) -> FunctionSpec {
    FunctionSpec {
        runtime: Some("python3.12".to_owned()),
        handler: Some("app.handler".to_owned()),
        code: Some(warren_model::native::CodeSpec::Source(source.to_owned())),
        ..FunctionSpec::default()
    }
}
