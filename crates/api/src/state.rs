use std::{sync::Arc, time::SystemTime};

use warren_invoker::Invoker;
use warren_model::{Account, Timestamp};
use warren_registry::Registry;

use crate::auth::Keys;

/// All that the HTTP interfaces call.
#[derive(Clone)]
pub struct Api(Arc<Parts>);

struct Parts {
    registry: Registry,
    invoker: Invoker,
    keys: Keys,
    account: Account,
}

impl Api {
    /// Puts the interfaces before a registry and an invoker, opened by one key pair.
    pub fn new(registry: Registry, invoker: Invoker, keys: Keys, account: Account) -> Self {
        Self(Arc::new(Parts {
            registry,
            invoker,
            keys,
            account,
        }))
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    pub(crate) fn invoker(&self) -> &Invoker {
        &self.0.invoker
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
