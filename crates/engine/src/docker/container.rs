use std::{collections::HashMap, path::Path};

use bollard::{
    Docker,
    errors::Error,
    models::{
        ContainerCreateBody, ContainerState, ContainerUpdateBody, HostConfig, HostConfigLogConfig,
        Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType, ResourcesUlimits,
    },
    query_parameters::{
        CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder,
        StartContainerOptions,
    },
};
use warren_model::{InstanceId, Memory};

use super::image;
use crate::{
    EngineError, Owner, SandboxSpec,
    host::Instance,
    inside::{self, Shown},
};

/// Labels, the same names on every engine that has labels.
pub(super) const LABEL_SERVER: &str = "warren.server";
pub(super) const LABEL_INSTANCE: &str = "warren.instance";
pub(super) const LABEL_BOOT: &str = "warren.boot";
const LABEL_NODE: &str = "warren.node";
const LABEL_FUNCTION: &str = "warren.function";

pub(super) fn name(instance: &InstanceId) -> String {
    format!("warren-{instance}")
}

fn bind(shown: Shown<'_>) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(shown.source.to_string_lossy().into_owned()),
        target: Some(shown.target.to_owned()),
        read_only: Some(!shown.writable),
        bind_options: shown.follows.then(|| MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RSLAVE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}

/// The container: what it may do is all here.
pub(super) fn body(
    spec: &SandboxSpec,
    owner: &Owner,
    instance: &Instance,
    disk: &Path,
    resolv_conf: Option<&Path>,
) -> ContainerCreateBody {
    let mut labels = HashMap::from([
        (LABEL_SERVER.to_owned(), owner.server.to_string()),
        (LABEL_NODE.to_owned(), owner.node.clone()),
        (LABEL_BOOT.to_owned(), owner.boot.to_string()),
        (LABEL_INSTANCE.to_owned(), spec.instance.to_string()),
    ]);
    labels.extend(
        spec.function
            .clone()
            .map(|name| (LABEL_FUNCTION.to_owned(), name)),
    );
    let shown = inside::shown(spec, instance, disk, resolv_conf);
    let mounts = shown.into_iter().map(bind).collect();
    let memory = signed(spec.memory.bytes());
    let host_config = HostConfig {
        mounts: Some(mounts),
        readonly_rootfs: Some(true),
        // Whatever it may reach comes through a link of ours, after its start.
        network_mode: Some("none".to_owned()),
        ipc_mode: Some("none".to_owned()),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(inside::CAPABILITIES.map(str::to_owned).to_vec()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        memory: Some(memory),
        memory_swap: Some(memory),
        cpu_shares: Some(signed(inside::cpu_shares(spec.memory))),
        pids_limit: Some(signed(inside::MAX_PROCESSES)),
        ulimits: Some(vec![
            ulimit("nofile", inside::OPEN_FILES),
            ulimit("core", 0),
        ]),
        log_config: Some(HostConfigLogConfig {
            typ: Some("none".to_owned()),
            config: None,
        }),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(image::name(&spec.tree)),
        entrypoint: Some(inside::command().map(str::to_owned).to_vec()),
        user: Some("0:0".to_owned()),
        working_dir: Some("/".to_owned()),
        hostname: Some(inside::HOST_NAME.to_owned()),
        labels: Some(labels),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    }
}

/// Docker's interface has signed numbers.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn ulimit(name: &str, value: u64) -> ResourcesUlimits {
    ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(signed(value)),
        hard: Some(signed(value)),
    }
}

/// Creates the container and gives its id. The daemon's own error, since a missing image is mended by the caller.
pub(super) async fn create(
    docker: &Docker,
    name: &str,
    body: ContainerCreateBody,
) -> Result<String, Error> {
    let options = CreateContainerOptionsBuilder::new().name(name).build();
    Ok(docker.create_container(Some(options), body).await?.id)
}

pub(super) async fn start(docker: &Docker, name: &str) -> Result<(), EngineError> {
    docker
        .start_container(name, None::<StartContainerOptions>)
        .await
        .map_err(EngineError::docker("start the container"))
}

/// Gives a running container another memory limit and processor share.
pub(super) async fn limit(docker: &Docker, name: &str, memory: Memory) -> Result<(), EngineError> {
    let bytes = signed(memory.bytes());
    let limits = ContainerUpdateBody {
        memory: Some(bytes),
        memory_swap: Some(bytes),
        cpu_shares: Some(signed(inside::cpu_shares(memory))),
        ..ContainerUpdateBody::default()
    };
    docker
        .update_container(name, limits)
        .await
        .map(drop)
        .map_err(EngineError::docker("change the limits of the container"))
}

/// What a container's PID 1 does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its id as this host sees it.
    Runs(u32),
    /// How it ended, in words.
    Ended(String),
}

/// Asks what PID 1 of the container does.
pub(super) async fn state(docker: &Docker, name: &str) -> Result<State, EngineError> {
    let found = match docker
        .inspect_container(name, None::<InspectContainerOptions>)
        .await
    {
        Err(Error::DockerResponseServerError {
            status_code: 404, ..
        }) => return Ok(State::Ended("the container is gone".to_owned())),
        outcome => outcome.map_err(EngineError::docker("inspect the container"))?,
    };
    Ok(state_of(found.state.unwrap_or_default()))
}

fn state_of(found: ContainerState) -> State {
    let pid = found.pid.and_then(|pid| u32::try_from(pid).ok());
    if let Some(pid) = pid.filter(|pid| *pid != 0) {
        return State::Runs(pid);
    }
    let mut words = format!("exit code {}", found.exit_code.unwrap_or_default());
    if found.oom_killed == Some(true) {
        words.push_str(", killed for memory");
    }
    if let Some(error) = found.error.filter(|error| !error.is_empty()) {
        words.push_str(", ");
        words.push_str(&error);
    }
    State::Ended(words)
}

/// Kills and removes it; one that is gone, or that somebody else is removing, counts as removed.
pub(super) async fn remove(docker: &Docker, name: &str) -> Result<(), EngineError> {
    let options = RemoveContainerOptionsBuilder::new()
        .force(true)
        .v(true)
        .build();
    match docker.remove_container(name, Some(options)).await {
        Err(Error::DockerResponseServerError {
            status_code: 404 | 409,
            ..
        }) => Ok(()),
        outcome => outcome.map_err(EngineError::docker("remove the container")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_how_a_container_ended() {
        let runs = ContainerState {
            pid: Some(7),
            ..ContainerState::default()
        };
        assert_eq!(state_of(runs), State::Runs(7));
        let ended = ContainerState {
            pid: Some(0),
            exit_code: Some(137),
            oom_killed: Some(true),
            error: Some(String::new()),
            ..ContainerState::default()
        };
        assert_eq!(
            state_of(ended),
            State::Ended("exit code 137, killed for memory".into())
        );
    }
}
