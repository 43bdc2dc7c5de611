//! Functions as this interface shows them.

use warren_model::{self as model, native};
use warren_registry::Entry;
use warren_runtimes::Catalogue;

use crate::{lambda::has_no_effect, state::Api};

/// A function as it is now.
pub(super) fn function(api: &Api, entry: &Entry) -> native::Function {
    let function = &entry.function;
    let latest = &entry.latest;
    let config = &latest.config;
    let shown = |reason: &Option<model::StateReason>| {
        reason
            .as_ref()
            .filter(|reason| reason.code != "Creating")
            .map(|reason| reason.message.clone())
    };
    let missing = api.registry().snapshot().without_code(latest);
    let launcher = api.invoker().launcher();
    let runs_on = runs_on(&launcher.catalogue, &config.runtime);
    native::Function {
        name: function.name().to_string(),
        arn: api.account().function_arn(function.name()),
        state: match latest.state {
            _ if missing.is_some() => native::State::Failed,
            model::State::Pending => native::State::Pending,
            model::State::Active => native::State::Active,
            model::State::Failed => native::State::Failed,
        },
        state_reason: match missing {
            Some(missing) => Some(missing.to_string()),
            None => shown(&latest.state_reason),
        },
        last_update: latest.last_update.map(|update| match update {
            model::LastUpdate::InProgress => native::LastUpdate::InProgress,
            model::LastUpdate::Successful => native::LastUpdate::Successful,
            model::LastUpdate::Failed => native::LastUpdate::Failed,
        }),
        last_update_reason: shown(&latest.last_update_reason),
        runtime: config.runtime.clone(),
        progress: runs_on
            .as_ref()
            .and_then(|runs_on| launcher.builds.of(&runs_on.id))
            .map(|progress| progress.to_string()),
        runs_on,
        handler: config.handler.clone(),
        timeout_s: config.timeout.get(),
        memory_mb: config.memory.get(),
        ephemeral_storage_mb: config.ephemeral_storage.get(),
        environment: config.environment.as_map().clone(),
        engine: config.engine.to_string(),
        network: config.network.to_string(),
        snap_start: config.snap_start,
        snap_start_state: config
            .snap_start
            .then(|| api.invoker().snap_start_state(latest)),
        description: config.description.clone(),
        tags: function.tags.clone(),
        routes: function.routes.iter().map(ToString::to_string).collect(),
        reserved_concurrency: function.reserved_concurrency,
        code: native::CodeInfo {
            sha256: latest.code.digest.to_string(),
            size: latest.code.size,
        },
        versions: entry.versions.keys().copied().collect(),
        without_effect: config
            .inert
            .iter()
            .filter(|(name, value)| has_no_effect(name, value))
            .map(|(name, _)| name.clone())
            .collect(),
        revision: latest.revision.to_string(),
        created: function.created.rfc3339(),
        modified: latest.modified.rfc3339(),
    }
}

fn runs_on(catalogue: &Catalogue, runtime: &str) -> Option<native::RunsOn> {
    let resolution = catalogue.resolve(runtime).ok()?;
    Some(native::RunsOn {
        id: resolution.recipe.id.clone(),
        title: resolution.recipe.title.clone(),
        stands_in: resolution.stands_in,
    })
}
