//! Creating a function, and changing one step by step.

use std::{sync::Arc, time::Duration};

use warren_model::{FunctionName, LastUpdate, State, Tags, Version, native::Deployed};
use warren_registry::{Entry, Guard, NewFunction, Prepare, RegistryError};

use super::{
    changes::Changes,
    find,
    refusal::{Kind, Refusal},
    spec::Spec,
    view,
};
use crate::state::Api;

/// How long new code may be prepared before a change of the configuration follows it. The language's tree is there by then, so it takes seconds.
const CODE_TIME: Duration = Duration::from_secs(120);

/// Creates a function of a request that says all that a new one needs.
pub(super) async fn create(
    api: &Api,
    name: FunctionName,
    mut spec: Spec,
) -> Result<Deployed, Refusal> {
    let config = spec.new_config(api)?;
    let tags = spec.all_tags(&Tags::new())?.unwrap_or_default();
    let zip = spec
        .zip
        .take()
        .ok_or_else(|| Refusal::field("code", "A new function needs the member 'code'."))?;
    let new = NewFunction {
        name: name.clone(),
        config,
        zip,
        tags,
        routes: spec.routes.unwrap_or_default(),
        reserved_concurrency: spec.reserved_concurrency.flatten(),
        publish: false,
        force: spec.force,
    };
    let force = new.force;
    let created = api.registry().create(new).await;
    created.map_err(|error| refused(error, force))?;
    deployed(api, &name, true, Vec::new(), force).await
}

/// Makes a function what a request says. Runs on when the client goes away: half a change helps nobody.
pub(super) async fn change(api: &Api, entry: Arc<Entry>, spec: Spec) -> Result<Deployed, Refusal> {
    let missing = api.registry().snapshot().without_code(&entry.latest);
    let changes = Changes::between(&entry, spec, missing.is_some())?;
    let api = api.clone();
    let task = tokio::spawn(async move {
        let name = entry.function.name();
        let (changed, force) = (changes.names.clone(), changes.force);
        apply(&api, name, changes).await?;
        deployed(&api, name, false, changed, force).await
    });
    task.await
        .unwrap_or_else(|panic| Err(Refusal::internal(&panic)))
}

async fn deployed(
    api: &Api,
    name: &FunctionName,
    created: bool,
    changed: Vec<String>,
    force: bool,
) -> Result<Deployed, Refusal> {
    let entry = find::entry(api, name.as_str())?;
    let launcher = api.invoker().launcher();
    let config = &entry.latest.config;
    let mut warnings = launcher.out_of_reach(config).await;
    if force && let Some(reason) = launcher.unavailable(config.engine).await {
        warnings.push(format!(
            "The engine '{}' can't be used at present, and calls are refused until it can. {reason}",
            config.engine
        ));
    }
    Ok(Deployed {
        function: view::function(api, &entry),
        created,
        changed,
        warnings,
    })
}

/// What is refused most often comes first, so that as a rule all is changed or nothing.
async fn apply(api: &Api, name: &FunctionName, changes: Changes) -> Result<(), Refusal> {
    let registry = api.registry();
    if let Some(config) = &changes.config {
        config.validate()?;
        let launcher = api.invoker().launcher();
        launcher
            .catalogue
            .resolve(&config.runtime)
            .map_err(RegistryError::Runtime)?;
        launcher
            .admit(config, changes.force)
            .await
            .map_err(|refusal| refused(RegistryError::Refused(refusal), changes.force))?;
    }
    if changes.patch.is_some() || changes.zip.is_some() {
        refuse_unsettled(&find::entry(api, name.as_str())?.latest)?;
    }
    if let Some(routes) = changes.routes {
        registry.set_routes(name, routes).await?;
    }
    if let Some((set, gone)) = changes.tags {
        if !set.is_empty() {
            registry.set_tags(name, set).await?;
        }
        if !gone.is_empty() {
            registry.remove_tags(name, &gone).await?;
        }
    }
    if let Some(reserved) = changes.reserved_concurrency {
        registry.set_reserved_concurrency(name, reserved).await?;
    }
    let has_code = changes.zip.is_some();
    if let Some(zip) = changes.zip {
        registry
            .update_code(name, zip, &Guard::default(), false, false)
            .await?;
    }
    let guard = Guard {
        force: changes.force,
        ..Guard::default()
    };
    if let Some(patch) = changes.patch {
        if has_code {
            settled(api, name).await?;
        }
        registry.update_config(name, patch, &guard).await?;
    }
    Ok(())
}

/// A refusal of an engine names the way around it.
fn refused(error: RegistryError, force: bool) -> Refusal {
    let engine = matches!(&error, RegistryError::Refused(refusal) if refusal.field == "engine");
    let refusal = Refusal::from(error);
    match engine && !force {
        true => refusal.next(
            "Choose another engine, or take this one all the same with 'force' (--force): calls are then refused until it can be used.",
        ),
        false => refusal,
    }
}

fn in_preparation(version: &Version) -> bool {
    version.state == State::Pending || version.last_update == Some(LastUpdate::InProgress)
}

fn refuse_unsettled(latest: &Version) -> Result<(), Refusal> {
    match in_preparation(latest) {
        false => Ok(()),
        true => Err(Refusal::new(
            Kind::Conflict,
            "The function is still being prepared after the last change.",
        )
        .next("Wait until its state is 'active' and its last_update is not 'in_progress'.")),
    }
}

/// Waits until new code is prepared, well or not: the registry takes one update after the other.
async fn settled(api: &Api, name: &FunctionName) -> Result<(), Refusal> {
    let mut changes = api.registry().changes();
    let wait = async {
        loop {
            changes.mark_unchanged();
            let entry = find::entry(api, name.as_str())?;
            if !in_preparation(&entry.latest) {
                return Ok(());
            }
            // The registry lives as long as the server; without it there is nothing to wait for.
            if changes.changed().await.is_err() {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(CODE_TIME, wait)
        .await
        .unwrap_or_else(|_| {
            Err(Refusal::new(
                Kind::Conflict,
                "The new code is still being prepared, and the configuration is unchanged.",
            )
            .next("Wait until last_update is not 'in_progress', then deploy again."))
        })
}
