//! Sandboxes that are started ahead of their functions. How many and which is the pool's to say ([`warren_scheduler::Stems`]); here they are started, handed out and ended.

use std::{
    collections::{BTreeSet, HashMap},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use warren_engine::SandboxSpec;
use warren_model::{
    Config, EngineName, EphemeralStorage, InstanceId, Memory, NetworkPolicy, chain,
};
use warren_protocol::Claim;
use warren_registry::Snapshot;
use warren_runtimes::{Interface as RecipeInterface, Recipe};
use warren_scheduler::{Moment, OnEngine, StemAction, StemId, StemSettings, Stems as Pool};

use crate::{booted::Booted, claim::claim, environment::ahead, invoker::Context, launch::Launcher};

/// A Python runtime that waits holds about 10 MB, JavaScript 40.
const GUESS: u64 = 40 << 20;
/// Between looks whether those that wait still live.
const LOOK: Duration = Duration::from_secs(5);
/// How long starts under way are waited for at the end: what is cut off is the reap's that follows.
const LAST_STARTS: Duration = Duration::from_secs(5);

/// What a stem can't change any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StemKind {
    engine: EngineName,
    /// As functions name it: what stands in for another behaves like that.
    runtime: String,
    ephemeral_storage: EphemeralStorage,
    internet: bool,
    /// What it is started with: the function's where something in it is sized by that for good, else the least there is, which the claim raises.
    memory: Memory,
}

impl StemKind {
    /// Which kind a function of this configuration could use. None where the network is the function's own: it must be there before a sandbox of some engines.
    fn of(launcher: &Launcher, config: &Config) -> Option<Self> {
        if let NetworkPolicy::Allow(_) = config.network {
            return None;
        }
        let engine = launcher.engines.get(&config.engine)?;
        let recipe = launcher.catalogue.resolve(&config.runtime).ok()?.recipe;
        Some(Self {
            engine: config.engine,
            runtime: config.runtime.clone(),
            ephemeral_storage: config.ephemeral_storage,
            internet: config.network == NetworkPolicy::Internet,
            memory: match engine.sized_at_start() || recipe.sized_by_memory {
                true => config.memory,
                false => Memory::default(),
            },
        })
    }

    fn network(&self) -> NetworkPolicy {
        match self.internet {
            true => NetworkPolicy::Internet,
            false => NetworkPolicy::None,
        }
    }
}

impl OnEngine for StemKind {
    fn engine(&self) -> EngineName {
        self.engine
    }
}

pub(crate) struct Stems {
    core: Mutex<Core>,
    begin: Instant,
    /// Something changed that may want another plan.
    news: Notify,
}

struct Core {
    pool: Pool<StemKind>,
    ready: HashMap<StemId, Booted>,
    starts: JoinSet<()>,
    ends: JoinSet<()>,
    closed: bool,
}

impl Stems {
    /// Has none yet, and never any with a budget of 0 bytes.
    pub(crate) fn new(budget: u64) -> Self {
        Self {
            core: Mutex::new(Core {
                pool: Pool::new(StemSettings {
                    budget,
                    guess: GUESS,
                    starts: 1,
                }),
                ready: HashMap::new(),
                starts: JoinSet::new(),
                ends: JoinSet::new(),
                closed: budget == 0,
            }),
            begin: Instant::now(),
            news: Notify::new(),
        }
    }

    /// Follows the functions: what none of them could use is not kept.
    pub(crate) fn follow(&self, launcher: &Launcher, snapshot: &Snapshot) {
        let versions = snapshot
            .functions
            .values()
            .filter_map(|entry| entry.ready.as_ref());
        let kinds: BTreeSet<StemKind> = versions
            .filter_map(|version| StemKind::of(launcher, &version.config))
            .collect();
        {
            let mut core = self.lock();
            if core.closed {
                return;
            }
            core.pool.follow(kinds);
        }
        self.news.notify_one();
    }

    /// One for a function of this configuration, if there is one.
    pub(crate) fn take(&self, launcher: &Launcher, config: &Config) -> Option<Booted> {
        let kind = StemKind::of(launcher, config)?;
        let mut core = self.lock();
        if core.closed {
            return None;
        }
        self.news.notify_one();
        let now = self.now();
        core.end_lost(now);
        let stem = core.pool.take(&kind, now)?;
        core.ready.remove(&stem)
    }

    /// Keeps as many as are wanted, until [`close`](Self::close).
    pub(crate) async fn run(&self, context: &Arc<Context>) {
        loop {
            let wake = self.step(context);
            if self.lock().closed {
                return;
            }
            tokio::select! {
                () = self.news.notified() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Ends all, and waits until they are gone; one whose start takes long is left to a reap.
    pub(crate) async fn close(&self) {
        let (mut starts, mut ends) = {
            let mut core = self.lock();
            core.closed = true;
            for stem in core.pool.clear() {
                if let Some(booted) = core.ready.remove(&stem) {
                    core.end(booted);
                }
            }
            let core = &mut *core;
            (
                std::mem::take(&mut core.starts),
                std::mem::take(&mut core.ends),
            )
        };
        self.news.notify_one();
        // What comes up yet is ended by the task that started it.
        let started = timeout(LAST_STARTS, all(&mut starts)).await;
        if started.is_err() {
            tracing::warn!(
                starts = starts.len(),
                limit = ?LAST_STARTS,
                "sandboxes were still being started ahead; their starts are given up"
            );
            starts.shutdown().await;
        }
        all(&mut ends).await;
    }

    /// How many wait for a function.
    pub(crate) fn ready(&self) -> usize {
        self.lock().pool.ready()
    }

    fn step(&self, context: &Arc<Context>) -> Instant {
        let now = self.now();
        let mut core = self.lock();
        while core.starts.try_join_next().is_some() {}
        while core.ends.try_join_next().is_some() {}
        core.end_lost(now);
        let mut actions = Vec::new();
        let wake = core.pool.plan(now, &mut actions);
        for action in actions {
            match action {
                StemAction::Start { stem, kind } => {
                    let context = Arc::clone(context);
                    core.starts.spawn(async move {
                        let booted = AssertUnwindSafe(boot(&context, &kind))
                            .catch_unwind()
                            .await
                            .unwrap_or_else(|_| Err("its start panicked".to_owned()));
                        context.stems.booted(stem, &kind, booted).await;
                    });
                }
                StemAction::Stop { stem } => {
                    if let Some(booted) = core.ready.remove(&stem) {
                        core.end(booted);
                    }
                }
            }
        }
        let look = Instant::now() + LOOK;
        wake.map_or(look, |Moment(micros)| {
            look.min(self.begin + Duration::from_micros(micros))
        })
    }

    async fn booted(&self, stem: StemId, kind: &StemKind, outcome: Result<Booted, String>) {
        let surplus = match outcome {
            Ok(booted) => {
                let bytes = booted.sandbox.usage().map(|usage| usage.memory_bytes);
                let mut core = self.lock();
                match core.pool.started(stem, bytes, self.now()) {
                    true => {
                        core.ready.insert(stem, booted);
                        None
                    }
                    false => Some(booted),
                }
            }
            Err(reason) => {
                tracing::warn!(engine = %kind.engine, runtime = kind.runtime, reason, "a sandbox could not be started ahead; calls start their own");
                self.lock().pool.failed(stem, self.now());
                None
            }
        };
        if let Some(booted) = surplus {
            booted.end().await;
        }
        self.news.notify_one();
    }

    fn now(&self) -> Moment {
        Moment::default().plus(self.begin.elapsed())
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Core {
    fn end(&mut self, booted: Booted) {
        self.ends.spawn(booted.end());
    }

    /// Ends those whose runtime has ended by itself.
    fn end_lost(&mut self, now: Moment) {
        let ill = self
            .ready
            .iter_mut()
            .filter_map(|(stem, booted)| (!booted.is_well()).then_some(*stem));
        for stem in ill.collect::<Vec<_>>() {
            self.pool.lost(stem, now);
            if let Some(booted) = self.ready.remove(&stem) {
                tracing::warn!(instance = %booted.sandbox.id(), "a sandbox that was started ahead has ended");
                self.end(booted);
            }
        }
    }
}

async fn all(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

/// Starts one, with a runtime that waits where the language has such.
async fn boot(context: &Context, kind: &StemKind) -> Result<Booted, String> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| chain(error.as_ref());
    let launcher = &context.launcher;
    let engine = launcher.engine(kind.engine).map_err(failed)?;
    let (refused, refusals) = mpsc::unbounded_channel();
    let (instance, network) = (InstanceId::random(), kind.network());
    let made = launcher.stem_spec(
        &kind.runtime,
        &instance,
        kind.ephemeral_storage,
        &network,
        refused,
    );
    let (spec, recipe) = made.await.map_err(failed)?;
    let spec = SandboxSpec {
        memory: kind.memory,
        ..spec
    };
    let started = Booted::start(engine.as_ref(), spec, refusals, &context.busy_poll);
    let mut booted = started.await.map_err(|error| chain(&error))?;
    if recipe.interface == RecipeInterface::Stream
        && let Err(error) = booted
            .start_runtime(&claim_ahead(context, kind, &recipe))
            .await
    {
        booted.end().await;
        return Err(chain(&error));
    }
    Ok(booted)
}

fn claim_ahead(context: &Context, kind: &StemKind, recipe: &Recipe) -> Claim {
    claim(recipe, ahead(&kind.runtime, recipe, &context.account))
}
