use std::sync::Arc;

use warren_model::{Account, FunctionName, FunctionRef, Qualifier, Version, VersionId};
use warren_registry::{Entry, NoCode, Snapshot};

use super::error::LambdaError;
use crate::state::Api;

/// The function, and the state of it, that a request names.
pub(super) struct Target {
    /// What is known of the function.
    pub(super) entry: Arc<Entry>,
    /// As the caller qualified it.
    pub(super) qualifier: Option<Qualifier>,
    snapshot: Arc<Snapshot>,
    account: Account,
}

impl Target {
    /// Finds the function that `text` (a name or any form of ARN) and `Qualifier` name.
    pub(super) fn find(
        api: &Api,
        text: &str,
        qualifier: Option<&str>,
    ) -> Result<Self, LambdaError> {
        let account = api.account();
        let named = FunctionRef::parse(text, account)?.with_qualifier(qualifier)?;
        if named.foreign_region.is_some() || named.foreign_account.is_some() {
            return Err(LambdaError::no_function(text));
        }
        let snapshot = api.registry().snapshot();
        let Some(entry) = snapshot.functions.get(&named.name) else {
            let missing = snapshot.not_found(&named.name, named.qualifier.as_ref());
            return Err(missing.into());
        };
        Ok(Self {
            entry: Arc::clone(entry),
            snapshot,
            qualifier: named.qualifier,
            account: account.clone(),
        })
    }

    /// Finds a function for a change, which a published version can't undergo.
    pub(super) fn changeable(api: &Api, text: &str) -> Result<Self, LambdaError> {
        let target = Self::find(api, text, None)?;
        match &target.qualifier {
            None | Some(Qualifier::Version(VersionId::Latest)) => Ok(target),
            Some(other) => Err(LambdaError::parameter(format!(
                "The operation changes a function, not its version or alias '{other}'. Name the function without a qualifier."
            ))),
        }
    }

    pub(super) fn name(&self) -> &FunctionName {
        self.entry.function.name()
    }

    /// As the caller qualified it.
    pub(super) fn arn(&self) -> String {
        arn(&self.account, self.name(), self.qualifier.as_ref())
    }

    /// The version to describe: `$LATEST` with its latest change, ready or not.
    pub(super) fn described(&self) -> Result<&Arc<Version>, LambdaError> {
        Ok(self
            .snapshot
            .version(self.name(), self.qualifier.as_ref())?)
    }

    /// The code of a version of it, if that is not here.
    pub(super) fn without_code(&self, version: &Version) -> Option<NoCode> {
        self.snapshot.without_code(version)
    }

    /// The version to call: of `$LATEST` the last that became ready.
    pub(super) fn callable(&self) -> Result<Arc<Version>, LambdaError> {
        let ready = self.snapshot.ready(self.name(), self.qualifier.as_ref());
        Ok(Arc::clone(ready?))
    }
}

fn arn(account: &Account, name: &FunctionName, qualifier: Option<&Qualifier>) -> String {
    match qualifier {
        None => account.function_arn(name),
        Some(qualifier) => account.qualified_arn(name, &qualifier.to_string()),
    }
}
