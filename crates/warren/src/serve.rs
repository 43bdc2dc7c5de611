//! `warren serve`: reads as a plan. Lock the data folder, clean up after an earlier run, build the parts, announce the addresses, wait, drain.

mod host;
mod network;

use std::{
    collections::HashSet,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{oneshot, watch},
};
use warren_api::{Api, auth::Keys};
use warren_engine::{Owner, host::Host};
use warren_invoker::{Builds, BusyPoll, Checkpoints, Engines, Invoker, Launcher, Probes};
use warren_model::{Account, Timestamp};
use warren_package::{FileBlobs, Unpacked};
use warren_registry::{Ledger, Registry};
use warren_runtimes::{Catalogue, Kit, Trees};
use warren_telemetry::{FunctionLogs, Origin, Records};

pub(crate) use self::host::{node_name, runs_programs};
use crate::{data_dir::DataDir, settings::Settings};

/// How long accepted calls may take to end after the signal to stop. With [`ANSWER`] it stays below the 30 s after which `warren_api` cuts connections.
const DRAIN: Duration = Duration::from_secs(25);
/// How long calls whose instance was ended at the stop may take to be answered.
const ANSWER: Duration = Duration::from_secs(2);
/// Idle for this long, an instance is asked whether it lives before it gets a call: some tens of microseconds, so not at each call.
const PING_AFTER: Duration = Duration::from_secs(10);
/// Revisions of the database are written down no more often than this.
const REMEMBER: Duration = Duration::from_secs(1);

/// Runs the server until a signal ends it.
pub(crate) fn serve(settings: Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(host::worker_threads())
        .enable_all()
        .build()
        .context("could not start the asynchronous runtime")?;
    runtime.block_on(run(settings))
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let data = DataDir::open(&settings.place.data_dir)?;
    if !host::runs_programs(data.path())? {
        anyhow::bail!(
            "{} is on a file system that is mounted noexec, and the agent and functions run from there. Choose a folder on another one with --data-dir, or mount this one with exec",
            data.path().display()
        );
    }
    let max_instances = max_instances(settings.max_instances);
    let listener = bind(settings.listen, "--listen").await?;
    let routes_listener = bind(settings.routes_listen, "--routes-listen").await?;
    let stop = stop_signal()?;

    let node = node_name();
    let ledger = Ledger::open(data.path()).context("could not read which code is not needed")?;
    let database = &settings.place.database;
    let store = database.open(&data, &node, &ledger).await?;
    let server = store.server_id().await?;
    let owner = Owner {
        server: data.id(&server)?,
        node,
        boot: data.raise_boot()?,
    };
    let keys = Keys::load_or_create(data.path())?;
    let account = Account::default();
    // Removed again whatever becomes of this start.
    let network = network::Guard::new(&owner, settings.name_servers.clone());
    let host = Arc::new(Host::new(
        data.folder("run")?,
        data.folder("disks")?,
        network.network(),
    ));
    let engines = engines(&owner, &host, &settings.cache_dir);
    if !engines.contains_key(&settings.default_engine) {
        let known: Vec<String> = engines.keys().map(ToString::to_string).collect();
        anyhow::bail!(
            "the engine '{}' of --default-engine is not built into this Warren; there is: {}",
            settings.default_engine,
            known.join(", ")
        );
    }
    // First of all: what is tried below must not meet what an earlier run left.
    reap(&engines, &host).await;
    tokio::task::block_in_place(|| host.open()).context("instances can have no folders")?;
    probe(&engines).await;
    network.start().await;
    let catalogue = Arc::new(Catalogue::load(&data.folder("recipes")?)?);
    for rejected in catalogue.rejected() {
        tracing::warn!(error = %rejected, "a recipe was left out");
    }
    let trees = Trees::new(&settings.cache_dir);
    sweep(&trees).await;
    let all_mb = settings
        .memory_mb
        .unwrap_or_else(host::memory_for_instances_mb);
    let stem_mb = settings
        .stem_memory_mb
        .unwrap_or_else(|| host::stem_memory_mb(all_mb));
    // What waits for a function is memory that no instance can have.
    let Some(memory_mb) = all_mb.checked_sub(stem_mb).filter(|mb| *mb > 0) else {
        anyhow::bail!(
            "stem_memory_mb ({stem_mb}) leaves nothing of the {all_mb} MB for instances: choose less with --stem-memory-mb, or more with --memory-mb"
        );
    };
    let launcher = Arc::new(Launcher {
        memory_mb,
        kit: Kit::install(data.path(), &catalogue)?,
        catalogue: Arc::clone(&catalogue),
        trees,
        blobs: Arc::new(FileBlobs::open(&data.folder("blobs")?).await?),
        unpacked: Arc::new(Unpacked::open(&data.folder("code")?).await?),
        run_code: run_code(&data.folder("run-code")?).await?,
        engines: engines.clone(),
        builds: Builds::default(),
        probes: Probes::default(),
    });
    let registry = Registry::open(warren_registry::Parts {
        store,
        blobs: Arc::clone(&launcher.blobs),
        unpacked: Arc::clone(&launcher.unpacked),
        ledger: Arc::new(ledger),
        catalogue,
        preparer: Arc::clone(&launcher) as _,
        default_engine: settings.default_engine,
        account: account.clone(),
        clock: now,
    })
    .await?;
    let logs = FunctionLogs::open(&data.folder("logs")?)?;
    let origin = Origin {
        node: owner.node.clone(),
        boot: owner.boot,
    };
    let records = match settings.records {
        Some(retention) => Records::start(origin, database.records(&data).await?, retention),
        None => Records::off(origin),
    };
    let invoker = Invoker::start(warren_invoker::Parts {
        registry: registry.clone(),
        launcher,
        logs: logs.clone(),
        records: records.clone(),
        settings: warren_scheduler::Settings {
            account_concurrency: warren_registry::ACCOUNT_CONCURRENCY,
            queue_calls: settings.queue_calls,
            queue_wait: settings.queue_wait,
            idle_after: settings.idle_after,
            ..warren_scheduler::Settings::new(memory_mb, max_instances)
        },
        busy_poll: busy_poll(settings.busy_poll),
        ping_after: PING_AFTER,
        freeze_after: settings.freeze_after,
        stem_memory: stem_mb << 20,
        checkpoints: Checkpoints::new(
            data.folder("checkpoints")?,
            settings.checkpoint_disk_mb << 20,
        )?,
    });
    let data = Arc::new(data);
    let remember = {
        let (data, database) = (Arc::clone(&data), settings.place.database.clone());
        move |revision| data.bind(&database.bound(&server, revision))
    };
    let (finish, finished) = oneshot::channel();
    let remembering = tokio::spawn(remember_revisions(registry.clone(), remember, finished));
    let api = Api::new(registry.clone(), invoker.clone(), keys, account);
    let control = tokio::spawn(warren_api::serve_control(
        listener,
        api.clone(),
        warren_api::Surroundings {
            logs: Some(logs.clone()),
            routes_listen: Some(settings.routes_listen),
            stopping: Some(stop.clone()),
        },
        stopped(stop.clone()),
    ));
    let routes = tokio::spawn(warren_api::serve_routes(
        routes_listener,
        api,
        stopped(stop.clone()),
    ));
    tracing::info!(
        control = %settings.listen,
        routes = %settings.routes_listen,
        data = %data.path().display(),
        database = %settings.place.database,
        "warren serves"
    );

    let retry = network.keep_trying();
    stopped(stop).await;
    tracing::info!("stopping: accepted calls are finished first");
    let drained = invoker.drain(DRAIN).await;
    if !drained {
        tracing::warn!(limit = ?DRAIN, "calls were still running; they are ended now");
    }
    network::end(retry).await;
    reap(&engines, &host).await;
    if !drained && !invoker.drain(ANSWER).await {
        tracing::warn!(limit = ?ANSWER, "some ended calls were not answered");
    }
    let control = control.await.context("the control address ended badly");
    let routes = routes.await.context("the routes address ended badly");
    if let Err(error) = logs.flush().await {
        tracing::warn!(
            error = chain(error),
            "the last log lines could not be written"
        );
    }
    match records.close(ANSWER).await {
        0 => {}
        lost => tracing::warn!(
            lost,
            limit = ?ANSWER,
            "the records of the last calls could not be written"
        ),
    }
    // It writes down the last revision, and nobody else writes that file.
    drop(finish);
    remembering
        .await
        .context("the task that writes down revisions ended badly")?;
    control.and(routes)
}

/// Writes down which revision of the database was seen last, soon after it was, and once more when `finished` says so.
async fn remember_revisions(
    registry: Registry,
    remember: impl Fn(u64) -> anyhow::Result<()> + Clone + Send + 'static,
    mut finished: oneshot::Receiver<()>,
) {
    let mut changes = registry.changes();
    let mut more = true;
    while more {
        let changed = async {
            let changed = changes.changed().await;
            tokio::time::sleep(REMEMBER).await;
            changed.is_ok()
        };
        more = tokio::select! {
            more = changed => more,
            _ = &mut finished => false,
        };
        let (remember, revision) = (remember.clone(), *changes.borrow_and_update());
        let written = tokio::task::spawn_blocking(move || remember(revision)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(
                error = chain(error),
                "the revision could not be written down"
            );
        }
    }
}

/// The instances that were asked for, or as many as the limit of open files allows.
fn max_instances(asked: u32) -> u32 {
    let files = host::raise_open_files();
    let possible = host::instances_for_files(files);
    if asked > possible {
        tracing::warn!(
            asked,
            possible,
            files,
            "fewer instances than --max-instances: raise the hard limit of open files (ulimit -Hn, or LimitNOFILE of the service)"
        );
    } else {
        tracing::info!(files, instances = asked, "open files are enough");
    }
    asked.min(possible)
}

/// Polling as it was asked for, where it pays (`docs/decisions/0004-busy-polling.md`): the polling thread must be the one that holds the sockets, and
/// the runtimes need another processor.
fn busy_poll(moment: Duration) -> BusyPoll {
    let processors = host::processors();
    let threads = host::worker_threads();
    let pays = processors > 1 && threads == 1;
    if !moment.is_zero() {
        tracing::info!(
            processors,
            threads,
            polls = pays,
            "short calls are waited for awake on hosts with 2 or 3 processors"
        );
    }
    BusyPoll::new(if pays { moment } else { Duration::ZERO })
}

/// Where the code of one-shot runs is: empty at each start, as no run outlives its server.
async fn run_code(folder: &std::path::Path) -> anyhow::Result<Unpacked> {
    let code = Unpacked::open(folder).await?;
    code.retain(&HashSet::new()).await?;
    Ok(code)
}

/// Removes what tree builds of dead processes left.
async fn sweep(trees: &Trees) {
    match trees.sweep().await {
        Ok(0) => {}
        Ok(swept) => tracing::info!(swept, "removed what cut tree builds left"),
        Err(error) => {
            tracing::warn!(
                error = chain(error),
                "what cut tree builds left could not be removed"
            );
        }
    }
}

/// With its causes, on one line.
fn chain(error: impl Into<anyhow::Error>) -> String {
    warren_model::chain(error.into().as_ref())
}

/// The engines of this host; nothing is asked of them yet.
fn engines(owner: &Owner, host: &Arc<Host>, cache: &Path) -> Engines {
    let built_in = warren_engine::built_in(owner, host, cache).into_iter();
    built_in.map(|one| (one.name(), one)).collect()
}

/// Tells which of them can be used.
async fn probe(engines: &Engines) {
    for (name, engine) in engines {
        match engine.probe().await {
            Ok(found) => tracing::info!(engine = %name, detail = found.detail, "engine is usable"),
            Err(unavailable) => {
                tracing::warn!(engine = %name, %unavailable, "engine can't be used: functions that need it are refused");
            }
        }
    }
}

/// Removes all instances there are: those of an earlier run, or of this one at its end.
async fn reap(engines: &Engines, host: &Host) {
    let nothing = HashSet::new();
    let mut removed = 0;
    for (name, engine) in engines {
        match engine.reap(&nothing).await {
            Ok(sandboxes) => removed += sandboxes,
            Err(error) => {
                tracing::warn!(error = chain(error), engine = %name, "instances may be left; the next start removes them");
            }
        }
    }
    // Without a daemon too: folders and mounts go now, containers once it answers.
    match tokio::task::block_in_place(|| host.sweep(&nothing)) {
        Ok(0) if removed == 0 => {}
        Ok(folders) => tracing::info!(sandboxes = removed, folders, "removed instances"),
        Err(error) => {
            tracing::warn!(
                error = chain(error),
                "what instances had on this host may be left; the next start removes it"
            );
        }
    }
}

async fn bind(address: std::net::SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("could not listen on {address}; stop what listens there or choose another address with {flag}")
    })
}

/// Becomes true at SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate()).context("could not wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("could not wait for SIGINT")?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.send_replace(true);
        // Keeps the sender alive, so that a waiting receiver sees the value and not its end.
        std::future::pending::<()>().await;
    });
    Ok(stopped)
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // The sender lives as long as the process.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn now() -> Timestamp {
    SystemTime::now().into()
}
