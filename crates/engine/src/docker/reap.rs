//! Removal of what an earlier run of the same server left.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use bollard::{Docker, models::ContainerSummary, query_parameters::ListContainersOptionsBuilder};
use warren_model::InstanceId;

use super::{
    container::{self, LABEL_BOOT, LABEL_INSTANCE, LABEL_SERVER, State},
    image,
};
use crate::{EngineError, Owner, host::cgroup::Freezer};

/// When to look again for containers of an earlier run, after a reap: the daemon goes on with what a killed server had asked of it.
const LATE_LOOKS: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

/// Removes this owner's containers that are not kept, and image names that dead imports left; answers how many containers.
pub(super) async fn containers(
    docker: &Docker,
    owner: &Owner,
    keep: &HashSet<InstanceId>,
) -> Result<usize, EngineError> {
    let kept = |found: &ContainerSummary| {
        label(found, LABEL_INSTANCE).is_some_and(|id| keep.contains(&InstanceId::new(id)))
    };
    let removed = remove_unless(docker, owner, kept).await?;
    if let Err(error) = image::sweep(docker).await {
        // They cost disk space and nothing else.
        tracing::warn!(%error, "unfinished images could not be removed");
    }
    Ok(removed)
}

/// Removes containers of earlier runs that the daemon makes after a reap; ends by itself.
pub(super) async fn late(docker: Docker, owner: Owner) {
    let boot = owner.boot.to_string();
    let own = |found: &ContainerSummary| label(found, LABEL_BOOT) == Some(boot.as_str());
    for pause in LATE_LOOKS {
        tokio::time::sleep(pause).await;
        match remove_unless(&docker, &owner, own).await {
            Ok(0) => {}
            Ok(sandboxes) => tracing::info!(sandboxes, "removed late containers of an earlier run"),
            Err(error) => {
                tracing::warn!(%error, "can't look for late containers of an earlier run");
            }
        }
    }
}

fn label<'a>(found: &'a ContainerSummary, name: &str) -> Option<&'a str> {
    found.labels.as_ref()?.get(name).map(String::as_str)
}

/// Removes this owner's containers; answers how many.
async fn remove_unless(
    docker: &Docker,
    owner: &Owner,
    kept: impl Fn(&ContainerSummary) -> bool,
) -> Result<usize, EngineError> {
    let ours = HashMap::from([(
        "label".to_owned(),
        vec![format!("{LABEL_SERVER}={}", owner.server)],
    )]);
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&ours)
        .build();
    let found = docker
        .list_containers(Some(options))
        .await
        .map_err(EngineError::docker("list containers"))?;
    let mut removed = 0;
    for summary in found {
        if kept(&summary) {
            continue;
        }
        if let Some(id) = summary.id {
            thaw(docker, &id).await;
            container::remove(docker, &id).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Lets a container go on that was frozen while it was idle: some runtimes can't end what is frozen. What fails here the removal says better.
async fn thaw(docker: &Docker, id: &str) {
    let frozen = match container::state(docker, id).await {
        Ok(State::Runs(pid)) => Freezer::of_process(pid),
        Ok(State::Ended(_)) => None,
        Err(error) => {
            tracing::debug!(id, %error, "a container that is to be removed could not be looked at");
            None
        }
    };
    if let Some(Err(error)) = frozen.map(|freezer| freezer.thaw()) {
        tracing::debug!(id, %error, "a container that is to be removed could not be thawed");
    }
}
