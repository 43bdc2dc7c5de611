use std::sync::Arc;

use warren_model::{FunctionName, FunctionRef, Qualifier, Version};
use warren_registry::{Entry, NotReady, Snapshot};

use super::refusal::{Kind, Refusal};
use crate::state::Api;

/// Most versions that a refusal lists, the latest ones.
const SHOWN_VERSIONS: usize = 10;

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
        if foreign {
            return Err(missing(text));
        }
        if snapshot.function(&named.name).is_none() {
            return Err(absent(&snapshot, &named.name, text));
        }
        Ok(Self {
            name: named.name,
            qualifier: named.qualifier,
            snapshot,
        })
    }

    /// The version that a call gets.
    pub(super) fn callable(&self) -> Result<Arc<Version>, Refusal> {
        match self.snapshot.ready(&self.name, self.qualifier.as_ref()) {
            Ok(ready) => Ok(Arc::clone(ready)),
            Err(NotReady::NotFound(missing)) => {
                let entry = self.snapshot.function(&self.name);
                Err(match (entry, &self.qualifier) {
                    (Some(entry), Some(qualifier)) => missing_version(entry, qualifier),
                    _ => missing.into(),
                })
            }
            Err(error) => Err(error.into()),
        }
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
    let snapshot = api.registry().snapshot();
    match text.parse::<FunctionName>() {
        Ok(name) => snapshot
            .function(&name)
            .cloned()
            .ok_or_else(|| absent(&snapshot, &name, text)),
        Err(invalid) => Err(qualified(api, &snapshot, text).unwrap_or_else(|| invalid.into())),
    }
}

/// The refusal of a function that is not in the snapshot: there is none, or it can't be read.
fn absent(snapshot: &Snapshot, name: &FunctionName, text: &str) -> Refusal {
    match snapshot.version(name, None) {
        Err(found) if found.damaged => found.into(),
        _ => missing(text),
    }
}

/// The refusal of a text that names a version where the whole function is meant, if it does.
fn qualified(api: &Api, snapshot: &Snapshot, text: &str) -> Option<Refusal> {
    let named = FunctionRef::parse(text, api.account()).ok()?;
    let qualifier = named.qualifier?;
    let Some(entry) = snapshot.function(&named.name) else {
        return Some(missing(named.name.as_str()));
    };
    Some(match snapshot.version(&named.name, Some(&qualifier)) {
        Err(_) => missing_version(entry, &qualifier),
        Ok(_) => Refusal::field(
            "name",
            format!("'{text}' names a version; what is asked for belongs to the whole function."),
        )
        .next(format!("Name it '{}'.", named.name)),
    })
}

fn missing_version(entry: &Entry, qualifier: &Qualifier) -> Refusal {
    let latest = entry.versions.keys().rev().take(SHOWN_VERSIONS);
    let mut latest: Vec<_> = latest.map(u64::to_string).collect();
    latest.reverse();
    let more = match entry.versions.len() > SHOWN_VERSIONS {
        true => "The latest of its published versions are",
        false => "Its published versions are",
    };
    let detail = format!(
        "The function '{}' has no version '{qualifier}'.",
        entry.function.name()
    );
    Refusal::new(Kind::NotFound, detail).next(match latest.as_slice() {
        [] => "It has no published version; without one it is called as it was last deployed."
            .to_owned(),
        [one] => format!("Its only published version is {one}."),
        several => format!("{more} {}.", several.join(", ")),
    })
}

fn missing(text: &str) -> Refusal {
    let shown: String = text.chars().take(140).collect();
    Refusal::new(Kind::NotFound, format!("There is no function '{shown}'."))
        .next("'warren list' shows those there are.")
}
