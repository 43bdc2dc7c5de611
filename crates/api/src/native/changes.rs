//! What a request changes in a function that exists: only what is not so already.

use bytes::Bytes;
use warren_model::{Config, Digest, LastUpdate, Route, State, Tags, Version};
use warren_registry::{ConfigPatch, Entry};

use super::{refusal::Refusal, spec::Spec};

/// The differences, and their names.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) names: Vec<String>,
    /// None if the configuration stays.
    pub(super) patch: Option<ConfigPatch>,
    /// The configuration with the patch.
    pub(super) config: Option<Config>,
    pub(super) zip: Option<Bytes>,
    pub(super) routes: Option<Vec<Route>>,
    /// Tags to set, and keys to remove.
    pub(super) tags: Option<(Tags, Vec<String>)>,
    pub(super) reserved_concurrency: Option<Option<u32>>,
    /// Whether an engine is taken that can't be used at present.
    pub(super) force: bool,
}

impl Changes {
    /// Compares a request with what there is.
    ///
    /// Code that is not here is given again, though it is the same.
    pub(super) fn between(entry: &Entry, spec: Spec, without_code: bool) -> Result<Self, Refusal> {
        let function = &entry.function;
        let latest = &entry.latest;
        let mut changes = Self {
            force: spec.force,
            ..Self::default()
        };
        if let Some(tags) = spec.all_tags(&function.tags)?
            && tags != function.tags
        {
            let gone = function.tags.keys().filter(|key| !tags.contains_key(*key));
            let gone = gone.cloned().collect();
            let set = tags
                .into_iter()
                .filter(|(key, value)| function.tags.get(key) != Some(value));
            changes.tags = Some((set.collect(), gone));
            changes.names.push("tags".to_owned());
        }
        if let Some(routes) = spec.routes
            && routes != function.routes
        {
            changes.routes = Some(routes);
            changes.names.push("routes".to_owned());
        }
        if let Some(reserved) = spec.reserved_concurrency
            && reserved != function.reserved_concurrency
        {
            changes.reserved_concurrency = Some(reserved);
            changes.names.push("reserved_concurrency".to_owned());
        }
        if let Some(zip) = spec.zip
            && (without_code || Digest::of(&zip) != latest.code.digest)
        {
            changes.zip = Some(zip);
            changes.names.push("code".to_owned());
        }
        let mut config = latest.config.clone();
        spec.patch.clone().apply(&mut config);
        let different = differences(&latest.config, &config);
        if !different.is_empty() {
            changes
                .names
                .extend(different.into_iter().map(str::to_owned));
            changes.patch = Some(spec.patch);
            changes.config = Some(config);
        } else if failed(latest) && changes.zip.is_none() {
            // The same once more: what failed may work by now.
            changes.patch = Some(ConfigPatch::default());
        }
        Ok(changes)
    }
}

/// Whether what the owner set last could not be prepared.
fn failed(version: &Version) -> bool {
    version.state == State::Failed || version.last_update == Some(LastUpdate::Failed)
}

fn differences(before: &Config, after: &Config) -> Vec<&'static str> {
    [
        ("runtime", before.runtime != after.runtime),
        ("handler", before.handler != after.handler),
        ("timeout_s", before.timeout != after.timeout),
        ("memory_mb", before.memory != after.memory),
        (
            "ephemeral_storage_mb",
            before.ephemeral_storage != after.ephemeral_storage,
        ),
        ("environment", before.environment != after.environment),
        ("engine", before.engine != after.engine),
        ("network", before.network != after.network),
        ("snap_start", before.snap_start != after.snap_start),
        ("description", before.description != after.description),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}
