use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;
use warren_model::{
    Account, Function, FunctionName, Qualifier, RouteTable, State, StateReason, Version, VersionId,
};
use warren_store::{Damaged, Record};

use crate::missing::Missing;
use crate::registry::lacks;
use crate::{NoCode, states};

/// All functions at one moment, in memory: what calls, routes and reads look into.
#[derive(Debug)]
pub struct Snapshot {
    /// Of the last change in it; a later snapshot has a higher one.
    pub revision: u64,
    /// By name.
    pub functions: BTreeMap<FunctionName, Arc<Entry>>,
    /// Which function answers which request.
    pub routes: Arc<RouteTable<FunctionName>>,
    /// Those that can't be read, by what stands for their name: that may be none.
    pub damaged: Arc<BTreeMap<String, Damaged>>,
    /// Code that functions refer to and that is not here.
    pub(crate) missing: Arc<Missing>,
    account: Arc<Account>,
}

/// A function with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The function.
    pub function: Arc<Function>,
    /// `$LATEST` as its owner last set it.
    pub latest: Arc<Version>,
    /// `$LATEST` as calls get it: the last one that was prepared. It is `latest`, but for the time of an update and after one that failed; none
    /// while the function was never prepared.
    pub ready: Option<Arc<Version>>,
    /// The published versions.
    pub versions: BTreeMap<u64, Arc<Version>>,
}

/// No such function or version, or one that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("Function not found: {arn}")]
pub struct NotFound {
    /// Its ARN, qualified as it was asked for.
    pub arn: String,
    /// Whether it is in the database, and damaged there: no fault of the client's.
    pub damaged: bool,
}

impl NotFound {
    /// What clients are told where it is damaged.
    pub fn damage(&self) -> Option<String> {
        self.damaged.then(|| {
            format!(
                "The database has the function {} in a form that can't be read. Warren's log names row and column: correct it there, or delete the function.",
                self.arn
            )
        })
    }
}

/// Why a call can't be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotReady {
    /// No such function or version: `ResourceNotFoundException`.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// Its code is not here: `ServiceException`.
    #[error(transparent)]
    NoCode(#[from] NoCode),
    /// It was never prepared: `ResourceConflictException`.
    #[error(
        "The operation cannot be performed at this time. The function is currently in the following state: {state:?}"
    )]
    NotActive {
        /// `Pending` or `Failed`.
        state: State,
        /// Why it is in that state.
        reason: Option<StateReason>,
    },
}

impl Snapshot {
    /// Of these functions.
    pub(crate) fn new(
        revision: u64,
        account: Arc<Account>,
        functions: BTreeMap<FunctionName, Arc<Entry>>,
        damaged: Arc<BTreeMap<String, Damaged>>,
        missing: Arc<Missing>,
    ) -> Self {
        let well = functions
            .iter()
            .map(|(name, entry)| (name.clone(), &entry.function.routes));
        // What can't be asked for has no routes.
        let ill = damaged.iter().filter_map(|(name, damaged)| {
            Some((name.parse::<FunctionName>().ok()?, &damaged.routes))
        });
        let routes = well
            .chain(ill)
            .flat_map(|(name, routes)| {
                let routes = routes.iter().cloned();
                routes.map(move |route| (route, name.clone()))
            })
            .collect();
        Self {
            revision,
            functions,
            routes: Arc::new(routes),
            damaged,
            missing,
            account,
        }
    }

    /// The next snapshot, with another entry (or none) under a name.
    pub(crate) fn with(
        &self,
        revision: u64,
        name: &FunctionName,
        entry: Option<Arc<Entry>>,
    ) -> Self {
        let routes_of = |entry: Option<&Arc<Entry>>| entry.map(|e| e.function.routes.clone());
        let same_routes = routes_of(self.functions.get(name)).unwrap_or_default()
            == routes_of(entry.as_ref()).unwrap_or_default();
        let mut functions = self.functions.clone();
        match entry {
            Some(entry) => functions.insert(name.clone(), entry),
            None => functions.remove(name),
        };
        let mut damaged = Arc::clone(&self.damaged);
        let mended = damaged.contains_key(name.as_str());
        if mended {
            Arc::make_mut(&mut damaged).remove(name.as_str());
        }
        if mended || !same_routes {
            let (account, missing) = (Arc::clone(&self.account), Arc::clone(&self.missing));
            return Self::new(revision, account, functions, damaged, missing);
        }
        Self {
            revision,
            functions,
            routes: Arc::clone(&self.routes),
            damaged,
            missing: Arc::clone(&self.missing),
            account: Arc::clone(&self.account),
        }
    }

    /// The same functions, after another look for their code.
    pub(crate) fn with_missing(&self, missing: Missing) -> Self {
        Self {
            revision: self.revision,
            functions: self.functions.clone(),
            routes: Arc::clone(&self.routes),
            damaged: Arc::clone(&self.damaged),
            missing: Arc::new(missing),
            account: Arc::clone(&self.account),
        }
    }

    /// Why a version can't be called whatever its state is: its code is not here.
    pub fn without_code(&self, version: &Version) -> Option<NoCode> {
        self.missing.of(&version.code.digest)
    }

    /// How many functions have a version whose code is not here.
    pub fn functions_without_code(&self) -> usize {
        match self.missing.digests.is_empty() {
            true => 0,
            false => {
                let functions = self.functions.values();
                functions
                    .filter(|entry| lacks(entry, &self.missing))
                    .count()
            }
        }
    }

    /// A function by its name.
    pub fn function(&self, name: &FunctionName) -> Option<&Arc<Entry>> {
        self.functions.get(name)
    }

    /// A version as its owner set it; without a qualifier `$LATEST`. There are no aliases yet, so none is found.
    pub fn version(
        &self,
        name: &FunctionName,
        qualifier: Option<&Qualifier>,
    ) -> Result<&Arc<Version>, NotFound> {
        self.functions
            .get(name)
            .and_then(|entry| match qualifier {
                None | Some(Qualifier::Version(VersionId::Latest)) => Some(&entry.latest),
                Some(Qualifier::Version(VersionId::Number(n))) => entry.versions.get(n),
                Some(Qualifier::Alias(_)) => None,
            })
            .ok_or_else(|| self.not_found(name, qualifier))
    }

    /// A version as a call gets it: prepared. For `$LATEST` that is [`Entry::ready`].
    pub fn ready(
        &self,
        name: &FunctionName,
        qualifier: Option<&Qualifier>,
    ) -> Result<&Arc<Version>, NotReady> {
        let version = self.version(name, qualifier)?;
        let ready = match version.id {
            VersionId::Latest => self.functions.get(name).and_then(|e| e.ready.as_ref()),
            VersionId::Number(_) => Some(version).filter(|version| states::prepared(version)),
        };
        let ready = ready.ok_or_else(|| NotReady::NotActive {
            state: version.state,
            reason: version.state_reason.clone(),
        })?;
        match self.without_code(ready) {
            Some(missing) => Err(missing.into()),
            None => Ok(ready),
        }
    }

    /// The refusal of a name, or of a name and a qualifier.
    pub fn not_found(&self, name: &FunctionName, qualifier: Option<&Qualifier>) -> NotFound {
        NotFound {
            damaged: self.damaged.contains_key(name.as_str()),
            arn: match qualifier {
                Some(qualifier) => self.account.qualified_arn(name, &qualifier.to_string()),
                None => self.account.function_arn(name),
            },
        }
    }
}

impl Entry {
    /// Of what is stored.
    pub(crate) fn of(record: Record) -> Self {
        let latest = Arc::new(record.function.latest.clone());
        let versions = record
            .versions
            .into_iter()
            .filter_map(|version| match version.id {
                VersionId::Number(number) => Some((number, Arc::new(version))),
                VersionId::Latest => None,
            })
            .collect();
        Self {
            ready: match states::prepared(&latest) {
                true => Some(Arc::clone(&latest)),
                false => record.ready.map(Arc::new),
            },
            latest,
            function: Arc::new(record.function),
            versions,
        }
    }

    /// The ready version, if it is not `latest`: what has to be stored besides it.
    pub(crate) fn ready_apart(&self) -> Option<&Version> {
        let ready = self.ready.as_deref();
        ready.filter(|ready| ready.revision != self.latest.revision)
    }

    /// With the function changed, and one more published version. `ready` stays, or is `$LATEST` where that is prepared.
    pub(crate) fn with(&self, function: Function, published: Option<&Arc<Version>>) -> Self {
        let latest = Arc::new(function.latest.clone());
        let mut changed = Self {
            ready: match states::prepared(&latest) {
                true => Some(Arc::clone(&latest)),
                false => self.ready.clone(),
            },
            latest,
            function: Arc::new(function),
            versions: self.versions.clone(),
        };
        if let Some(version) = published {
            changed.put(Arc::clone(version));
        }
        changed
    }

    /// A published version, in place of the one of its number.
    pub(crate) fn put(&mut self, version: Arc<Version>) {
        if let VersionId::Number(number) = version.id {
            self.versions.insert(number, version);
        }
    }

    /// The published version with the highest number.
    pub(crate) fn last_published(&self) -> Option<&Arc<Version>> {
        self.versions.last_key_value().map(|(_, version)| version)
    }

    /// Every version, `ready` included.
    pub(crate) fn all_versions(&self) -> impl Iterator<Item = &Arc<Version>> {
        std::iter::once(&self.latest)
            .chain(&self.ready)
            .chain(self.versions.values())
    }
}
