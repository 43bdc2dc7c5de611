//! Removal of what an earlier run of the same server left.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use bollard::{Docker, query_parameters::ListContainersOptionsBuilder};
use warren_model::InstanceId;

use super::container::{self, LABEL_INSTANCE, LABEL_SERVER};
use crate::{EngineError, Owner, Reaped, host};

pub(super) async fn reap(
    docker: &Docker,
    owner: &Owner,
    run: &Path,
    keep: &HashSet<InstanceId>,
) -> Result<Reaped, EngineError> {
    let mut reaped = Reaped::default();
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
    for summary in found {
        let instance = summary
            .labels
            .as_ref()
            .and_then(|labels| labels.get(LABEL_INSTANCE))
            .map(InstanceId::new);
        if instance.is_some_and(|id| keep.contains(&id)) {
            continue;
        }
        if let Some(id) = summary.id {
            container::remove(docker, &id).await?;
            reaped.sandboxes += 1;
        }
    }
    reaped.folders = folders(run, keep)?;
    Ok(reaped)
}

/// Removes the folders of instances that are not kept, mounts and loop devices with them.
fn folders(run: &Path, keep: &HashSet<InstanceId>) -> Result<usize, EngineError> {
    let mut removed = 0;
    let entries = std::fs::read_dir(run).map_err(EngineError::host("read the folder", run))?;
    for entry in entries {
        let entry = entry.map_err(EngineError::host("read the folder", run))?;
        let id = InstanceId::new(entry.file_name().to_string_lossy());
        if !keep.contains(&id) {
            host::remove_folder(&entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}
