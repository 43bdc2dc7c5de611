//! What engines said of themselves a moment ago, so that calls don't ask each time: an answer may take seconds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{sync::Mutex as Turn, time::Instant};
use warren_engine::Engine;
use warren_model::EngineName;

/// How long it counts that an engine works.
const TRUST: Duration = Duration::from_secs(10);
/// How long it counts that it does not: all who wait are told, and whoever comes after it was mended is served.
const DOUBT: Duration = Duration::from_secs(1);

/// The latest answers.
#[derive(Debug, Default)]
pub struct Probes(Mutex<HashMap<EngineName, Arc<Latest>>>);

#[derive(Debug, Default)]
struct Latest {
    /// One asks at a time.
    turn: Turn<()>,
    answer: Mutex<Option<Answer>>,
}

/// Why an engine can't be used, if so, at a moment.
#[derive(Debug, Clone)]
struct Answer(Option<String>, Instant);

impl Probes {
    /// Why an engine can't be used, if so. Really asks.
    pub(crate) async fn ask(&self, engine: &dyn Engine) -> Option<String> {
        let reason = engine.probe().await.err().map(|why| why.to_string());
        let latest = self.latest(engine.name());
        *latest.answer() = Some(Answer(reason.clone(), Instant::now()));
        reason
    }

    /// The same, by an answer that may be some seconds old. Of several who need a new one, one asks.
    pub(crate) async fn recall(&self, engine: &dyn Engine) -> Option<String> {
        let latest = self.latest(engine.name());
        if let Some(reason) = latest.fresh() {
            return reason;
        }
        let _turn = latest.turn.lock().await;
        match latest.fresh() {
            Some(reason) => reason,
            None => self.ask(engine).await,
        }
    }

    fn latest(&self, name: EngineName) -> Arc<Latest> {
        let mut all = self.0.lock().unwrap_or_else(|e| e.into_inner());
        Arc::clone(all.entry(name).or_default())
    }
}

impl Latest {
    /// The answer, if it still counts.
    fn fresh(&self) -> Option<Option<String>> {
        let Answer(reason, at) = self.answer().clone()?;
        let counts = match reason {
            None => TRUST,
            Some(_) => DOUBT,
        };
        (at.elapsed() < counts).then_some(reason)
    }

    fn answer(&self) -> MutexGuard<'_, Option<Answer>> {
        self.answer.lock().unwrap_or_else(|e| e.into_inner())
    }
}
