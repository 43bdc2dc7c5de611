//! Sandboxes that are started ahead of their functions. How many and which is the pool's to say ([`warren_scheduler::Stems`]); here they are started, handed out and ended.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use warren_model::{Config, EngineName, EphemeralStorage, InstanceId, NetworkPolicy, chain};
use warren_protocol::Claim;
use warren_registry::Snapshot;
use warren_runtimes::{Interface as RecipeInterface, Recipe};
use warren_scheduler::{Moment, StemAction, StemId, StemSettings, Stems as Pool};

use crate::{
    booted::{Booted, refusals},
    claim::claim,
    environment::ahead,
    invoker::Context,
};

/// A Python runtime that waits holds about 10 MB, JavaScript 40.
const GUESS: u64 = 40 << 20;
/// Between looks whether those that wait still live.
const LOOK: Duration = Duration::from_secs(5);

/// What a stem can't change any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StemKind {
    engine: EngineName,
    /// As functions name it: what stands in for another behaves like that.
    runtime: String,
    ephemeral_storage: EphemeralStorage,
    internet: bool,
}

impl StemKind {
    /// Which kind a function of this configuration could use. None where the network is the function's own: it must be there before a sandbox of some engines.
    fn of(config: &Config) -> Option<Self> {
        match config.network {
            NetworkPolicy::Allow(_) => None,
            NetworkPolicy::None | NetworkPolicy::Internet => Some(Self {
                engine: config.engine,
                runtime: config.runtime.clone(),
                ephemeral_storage: config.ephemeral_storage,
                internet: config.network == NetworkPolicy::Internet,
            }),
        }
    }

    fn network(&self) -> NetworkPolicy {
        match self.internet {
            true => NetworkPolicy::Internet,
            false => NetworkPolicy::None,
        }
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
    /// Starts and ends under way.
    work: JoinSet<()>,
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
                work: JoinSet::new(),
                closed: budget == 0,
            }),
            begin: Instant::now(),
            news: Notify::new(),
        }
    }

    /// Follows the functions: what none of them could use is not kept.
    pub(crate) fn follow(&self, snapshot: &Snapshot) {
        let mut core = self.lock();
        if core.closed {
            return;
        }
        let versions = snapshot
            .functions
            .values()
            .filter_map(|entry| entry.ready.as_ref());
        let kinds: BTreeSet<StemKind> = versions
            .filter_map(|version| StemKind::of(&version.config))
            .collect();
        core.pool.follow(kinds);
        drop(core);
        self.news.notify_one();
    }

    /// One for a function of this configuration, if there is one.
    pub(crate) fn take(&self, config: &Config) -> Option<Booted> {
        let kind = StemKind::of(config)?;
        let mut core = self.lock();
        if core.closed {
            return None;
        }
        self.news.notify_one();
        while let Some(stem) = core.pool.take(&kind, self.now()) {
            if let Some(mut booted) = core.ready.remove(&stem) {
                if booted.is_well() {
                    return Some(booted);
                }
                core.end(booted);
            }
        }
        None
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

    /// Ends all, and waits until they are gone.
    pub(crate) async fn close(&self) {
        let mut work = {
            let mut core = self.lock();
            core.closed = true;
            for stem in core.pool.clear() {
                if let Some(booted) = core.ready.remove(&stem) {
                    core.end(booted);
                }
            }
            std::mem::take(&mut core.work)
        };
        self.news.notify_one();
        while work.join_next().await.is_some() {}
    }

    /// How many wait for a function.
    pub(crate) fn ready(&self) -> usize {
        self.lock().pool.ready()
    }

    fn step(&self, context: &Arc<Context>) -> Instant {
        let now = self.now();
        let mut core = self.lock();
        while core.work.try_join_next().is_some() {}
        core.end_lost(now);
        let mut actions = Vec::new();
        let wake = core.pool.plan(now, &mut actions);
        for action in actions {
            match action {
                StemAction::Start { stem, kind } => {
                    let context = Arc::clone(context);
                    core.work.spawn(async move {
                        let booted = boot(&context, &kind).await;
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
                let bytes = booted.sandbox.usage().map_or(0, |usage| usage.memory_bytes);
                let mut core = self.lock();
                match core.pool.started(stem, bytes) {
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
        self.work.spawn(booted.end());
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

/// Starts one, with a runtime that waits where the language has such.
async fn boot(context: &Context, kind: &StemKind) -> Result<Booted, String> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| chain(error.as_ref());
    let launcher = &context.launcher;
    let engine = launcher.engine(kind.engine).map_err(failed)?;
    let (refused, refusals) = refusals();
    let (instance, network) = (InstanceId::random(), kind.network());
    let made = launcher.stem_spec(
        &kind.runtime,
        &instance,
        kind.ephemeral_storage,
        &network,
        refused,
    );
    let (spec, recipe) = made.await.map_err(failed)?;
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
