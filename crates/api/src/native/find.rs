use std::sync::Arc;

use warren_model::{FunctionName, FunctionRef, Qualifier, Version};
use warren_registry::{Entry, Snapshot};

use super::refusal::{Kind, Refusal};
use crate::state::Api;

/// The function, and the state of it, that a request names.
pub(super) struct Found {
    name: FunctionName,
    qualifier: Option<Qualifier>,
    snapshot: Arc<Snapshot>,
}

impl Found {
    /// By a name, `name:version` or an ARN, and a qualifier that may stand apart.
    pub(super) fn of(api: &Api, text: &str, qualifier: Option<&str>) -> Result<Self, Refusal> {
        let named = FunctionRef::parse(text, api.account())?.with_qualifier(qualifier)?;
        let snapshot = api.registry().snapshot();
        let foreign = named.foreign_account.is_some() || named.foreign_region.is_some();
        if foreign || snapshot.function(&named.name).is_none() {
            return Err(missing(text));
        }
        Ok(Self {
            name: named.name,
            qualifier: named.qualifier,
            snapshot,
        })
    }

    /// The version that a call gets.
    pub(super) fn callable(&self) -> Result<Arc<Version>, Refusal> {
        let ready = self.snapshot.ready(&self.name, self.qualifier.as_ref())?;
        Ok(Arc::clone(ready))
    }

    /// As the caller qualified it.
    pub(super) fn arn(&self, api: &Api) -> String {
        match &self.qualifier {
            None => api.account().function_arn(&self.name),
            Some(qualifier) => api
                .account()
                .qualified_arn(&self.name, &qualifier.to_string()),
        }
    }
}

/// The function itself, by its plain name, for reads and changes of the whole.
pub(super) fn entry(api: &Api, text: &str) -> Result<Arc<Entry>, Refusal> {
    let name: FunctionName = text.parse()?;
    let snapshot = api.registry().snapshot();
    snapshot
        .function(&name)
        .cloned()
        .ok_or_else(|| missing(text))
}

fn missing(text: &str) -> Refusal {
    let shown: String = text.chars().take(140).collect();
    Refusal::new(Kind::NotFound, format!("There is no function '{shown}'."))
        .next("'warren list' shows those there are.")
}
