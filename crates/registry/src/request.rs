//! What callers ask of the registry, and what they get.

use std::sync::Arc;

use bytes::Bytes;
use warren_model::{
    Config, Digest, EngineName, Environment, EphemeralStorage, Function, FunctionName,
    InertSettings, Memory, NetworkPolicy, RevisionId, Route, Tags, Timeout, Version,
};

/// A function to create.
#[derive(Debug, Clone)]
pub struct NewFunction {
    /// Its name.
    pub name: FunctionName,
    /// What its owner chose. The engine is overruled by a tag `warren:engine`.
    pub config: Config,
    /// Its code.
    pub zip: Bytes,
    /// Its tags.
    pub tags: Tags,
    /// Its routes, besides those of tags `warren:route`.
    pub routes: Vec<Route>,
    /// The number of calls that are kept for it and limit it.
    pub reserved_concurrency: Option<u32>,
    /// Whether version 1 is published with it.
    pub publish: bool,
    /// Whether it is taken though its engine can't be used at present.
    pub force: bool,
}

/// A function was created and is being prepared.
#[derive(Debug, Clone)]
pub struct Created {
    /// The function, `Pending`.
    pub function: Arc<Function>,
    /// Version 1, `Pending`, if it was asked for.
    pub published: Option<Arc<Version>>,
}

/// What must hold for an update to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guard {
    /// `$LATEST` still has this revision.
    pub revision: Option<RevisionId>,
    /// Its engine need not be usable at present.
    pub force: bool,
}

/// Code was replaced and is being prepared.
#[derive(Debug, Clone)]
pub struct Updated {
    /// `$LATEST`, `InProgress`; with `dry_run` as it would be, and nothing was changed.
    pub version: Arc<Version>,
    /// The version published from it, if that was asked for.
    pub published: Option<Arc<Version>>,
}

/// Changes to a configuration: what is none stays.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs, reason = "the members are those of `Config`")]
pub struct ConfigPatch {
    pub runtime: Option<String>,
    pub handler: Option<String>,
    pub role: Option<String>,
    pub description: Option<String>,
    pub timeout: Option<Timeout>,
    pub memory: Option<Memory>,
    pub ephemeral_storage: Option<EphemeralStorage>,
    pub environment: Option<Environment>,
    /// A tag `warren:engine`, if there is one, follows.
    pub engine: Option<EngineName>,
    pub network: Option<NetworkPolicy>,
    pub snap_start: Option<bool>,
    /// Replaces the settings of these names; others stay.
    pub inert: Option<InertSettings>,
}

impl ConfigPatch {
    /// Makes the changes.
    pub fn apply(self, config: &mut Config) {
        fn set<T>(to: &mut T, from: Option<T>) {
            if let Some(value) = from {
                *to = value;
            }
        }
        set(&mut config.runtime, self.runtime);
        set(&mut config.handler, self.handler);
        set(&mut config.role, self.role);
        set(&mut config.description, self.description);
        set(&mut config.timeout, self.timeout);
        set(&mut config.memory, self.memory);
        set(&mut config.ephemeral_storage, self.ephemeral_storage);
        set(&mut config.environment, self.environment);
        set(&mut config.engine, self.engine);
        set(&mut config.network, self.network);
        set(&mut config.snap_start, self.snap_start);
        config.inert.extend(self.inert.into_iter().flatten());
    }
}

/// A version to publish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Publish {
    /// `$LATEST` has this code.
    pub code_digest: Option<Digest>,
    /// The version's description, instead of that of `$LATEST`.
    pub description: Option<String>,
    /// `$LATEST` still has this revision.
    pub revision: Option<RevisionId>,
}
