use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use warren_invoker::{Completed, Invocation, InvokeError, Invoker};
use warren_model::{Account, Timestamp};
use warren_registry::Registry;
use warren_telemetry::{Dropped, metrics::Now};

use crate::{auth::Keys, edge::Budget};

/// When a caller may try again whose request found the store unreachable, in seconds.
pub(crate) const OUTAGE_RETRY_AFTER_S: u32 = 5;

/// How often a call is begun whose version was replaced before it ran.
const TRIES: u32 = 3;

/// All that the HTTP interfaces call.
#[derive(Clone)]
pub struct Api(Arc<Parts>);

struct Parts {
    registry: Registry,
    invoker: Invoker,
    keys: Keys,
    account: Account,
    bodies: Budget,
}

impl Api {
    /// Puts the interfaces before a registry and an invoker, opened by one key pair.
    pub fn new(registry: Registry, invoker: Invoker, keys: Keys, account: Account) -> Self {
        Self(Arc::new(Parts {
            registry,
            invoker,
            keys,
            account,
            bodies: Budget::default(),
        }))
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    pub(crate) fn invoker(&self) -> &Invoker {
        &self.0.invoker
    }

    /// Calls what `find` finds, and gives back what was found beside it. Where the version was replaced before it ran, `find` is asked again; a call that
    /// is not begun again is recorded as refused. The head of the request came at `arrived`: a refusal is timed from there, an invocation from its own
    /// beginning.
    pub(crate) async fn invoke<T, E: From<InvokeError>>(
        &self,
        arrived: Instant,
        mut find: impl FnMut() -> Result<(Invocation, T), E>,
    ) -> Result<(Completed, T), E> {
        let invoker = &self.0.invoker;
        let mut tries_left = TRIES;
        let mut before = None;
        loop {
            let (invocation, found) = match find() {
                Ok(found) => found,
                Err(error) => {
                    // It was found before, and deleted since.
                    if let Some(unserved) = before {
                        invoker.give_up(unserved);
                    }
                    return Err(error);
                }
            };
            tries_left -= 1;
            let digest = invocation.version.code.digest;
            let unserved = match invoker.invoke_received(invocation, arrived).await {
                Ok(completed) => return Ok((completed, found)),
                Err(unserved) => unserved,
            };
            let again = match &unserved.error {
                InvokeError::Changed => tries_left > 0,
                // Asked again, the snapshot says that it is the code which is missing.
                InvokeError::Unavailable(_) if tries_left > 0 => {
                    self.registry().lacks_code(&digest).await
                }
                _ => false,
            };
            if !again {
                return Err(invoker.give_up(unserved).into());
            }
            before = Some(unserved);
        }
    }

    /// All counts, in Prometheus' text format.
    pub(crate) fn metrics(&self, dropped: Dropped) -> String {
        let counts = self.0.invoker.counts();
        let polls = self.0.invoker.busy_poll().polls();
        let records = self.0.invoker.records();
        records.metrics().render(&Now {
            starting: counts.starting,
            stems: self.0.invoker.stems() as u64,
            idle: counts.idle,
            busy: counts.busy,
            stopping: counts.stopping,
            memory_mb: counts.memory_mb,
            waiting: counts.waiting,
            starts: counts.starts,
            start_failures: counts.start_failures,
            ignored_events: counts.ignored,
            busy_polls_won: polls.won,
            busy_polls_lost: polls.lost,
            dropped,
            records: records.counts(),
        })
    }

    /// The memory for request bodies on both addresses.
    pub(crate) fn bodies(&self) -> &Budget {
        &self.0.bodies
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    pub(crate) fn account(&self) -> &Account {
        &self.0.account
    }

    pub(crate) fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}
