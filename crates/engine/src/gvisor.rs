//! One gVisor sandbox for each instance: `runsc` starts it from the same bundle as `runc`, and then a kernel in user space (the sentry) stands between the
//! function and the host's. Files go through a second process (the gofer); packets through the sentry's own network stack.
//!
//! `runsc` uses no cgroups here: sentry, gofer and what runs the function's code are in a group of ours ([`Entry`](crate::oci::Entry)), whose limits hold
//! whatever they do.

mod program;
mod trial;

use std::{ffi::OsString, fs, io, os::unix::fs::chown, path::Path, process::ExitStatus, sync::Arc};

use async_trait::async_trait;
use serde_json::{Value, json};
use warren_model::{EngineName, Memory, NetworkPolicy};

use self::{
    program::Programs,
    trial::{Platform, Trials},
};
use crate::{
    Engine, EngineError, Owner, Unavailable,
    host::{
        Host,
        cgroup::{Cgroup, Limits},
    },
    inside,
    oci::{Entry, Ground, LOG, OciEngine, PID, Program, Runtime, STATE, Source, Start},
};

/// Memory of sentry and gofer beside the function's own, as they are in its group: 12 MiB of their own and 2 MiB of the kernel's were measured under a light
/// Python function, and as much under one that had touched 1 GB; the rest is for a start, and for what a busy function makes them keep.
const OWN_MEMORY: u64 = 24 << 20;
/// Processes and threads of the host that one sandbox may have: for each process of the function's a stub with its threads, and those of sentry and gofer.
/// What the function itself may have is its kernel's to count: [`inside::MAX_PROCESSES`].
const HOST_PROCESSES: u64 = 8 * inside::MAX_PROCESSES;

struct Gvisor {
    programs: Programs,
    trials: Trials,
}

#[async_trait]
impl Runtime for Gvisor {
    const NAME: EngineName = EngineName::named("gvisor");
    const LINK_FIRST: bool = true;
    /// The gofer has the folder itself open.
    const MOUNTS_WITHIN: bool = true;

    fn program(&self) -> Result<Program, Unavailable> {
        self.programs.find()
    }

    async fn probe(&self, ground: &Ground<'_>) -> Result<String, Unavailable> {
        Entry::probe()?;
        let program = self.program()?;
        let version = program.version().await?;
        program::usable(&program, &version)?;
        let platform = self.trials.platform(ground, &program).await?;
        Ok(format!(
            "{platform}, {version}, cgroup v{}",
            ground.slice.version()
        ))
    }

    fn limits(memory: Memory) -> Limits {
        Limits::of(memory).with_room(OWN_MEMORY, HOST_PROCESSES)
    }

    /// Sentry and stubs map the memory of the function, each for itself.
    fn figures(&self, pid: u32) -> Option<Cgroup> {
        Cgroup::of_process(pid).map(Cgroup::of_sharers)
    }

    fn adjust(&self, config: &mut Value, view: &Path) {
        adjust(config, view);
    }

    async fn run(&self, start: &Start<'_>) -> Result<ExitStatus, EngineError> {
        let first_id = start
            .first_id
            .ok_or_else(|| start.failed("there are no user ids left for it"))?;
        let platform = self.trials.chosen();
        let entry = Entry {
            group: start.group,
            first_id,
            folder: start.instance.folder(),
            state: &start.instance.folder().join(STATE),
            view: start.view,
            shown: &shown(start.program, start.config),
            memory: start.spec.memory.bytes(),
            command: &command(
                start.view,
                platform,
                &start.spec.network,
                start.spec.instance.as_str(),
                true,
            ),
            output: start.output,
        };
        give(start.instance.folder(), first_id)?;
        let begun = entry.begin().await?;
        start
            .instance
            .attach(start.host, start.spec, begun.pid())
            .await?;
        begun.go().await
    }
}

/// Numbers in the view: the instance's folder is the first, then what [`shown`] lists.
const FOLDER: usize = 0;
const RUNSC: usize = 1;
const FIRST_SOURCE: usize = 2;

/// What the program sees of the host's closed folders: itself, and the sources of the bundle's mounts.
fn shown(program: &Program, config: &Value) -> Vec<Source> {
    let mounts = config["mounts"].as_array();
    let binds = mounts
        .into_iter()
        .flatten()
        .filter(|one| one["type"] == "bind");
    let sources = binds.filter_map(|mount| {
        let options = mount["options"].as_array()?;
        Some(Source {
            path: mount["source"].as_str()?.into(),
            writable: options.iter().any(|option| option == "rw"),
        })
    });
    std::iter::once(Source::of(program))
        .chain(sources)
        .collect()
}

/// Makes what `runsc` writes in an instance's folder, as its user's.
fn give(folder: &Path, first_id: u32) -> Result<(), EngineError> {
    let made = |path: &Path, made: io::Result<()>| {
        made.and_then(|()| chown(path, Some(first_id), Some(first_id)))
            .map_err(EngineError::host("create", path))
    };
    let state = folder.join(STATE);
    made(&state, fs::create_dir(&state))?;
    for name in [LOG, PID] {
        let file = folder.join(name);
        made(&file, fs::write(&file, ""))?;
    }
    Ok(())
}

/// `runsc run`, with paths of the view.
fn command(
    view: &Path,
    platform: Platform,
    network: &NetworkPolicy,
    instance: &str,
    detach: bool,
) -> Vec<OsString> {
    let folder = Entry::place(view, FOLDER);
    let network = match network {
        NetworkPolicy::None => "none",
        _ => "sandbox",
    };
    let mut command = vec![Entry::place(view, RUNSC).into_os_string()];
    let mut option = |name: &str, value: &Path| {
        command.push(name.into());
        command.push(value.into());
    };
    option("--root", &folder.join(STATE));
    option("--log", &folder.join(LOG));
    command.extend(
        [
            "--ignore-cgroups".to_owned(),
            format!("--platform={platform}"),
            format!("--network={network}"),
            // Sockets in folders of the host: the agent's, and those that the function makes in its own /tmp.
            "--host-uds=all".to_owned(),
            // The sentry opens no file of the host itself.
            "--directfs=false".to_owned(),
            "--overlay2=none".to_owned(),
            "run".to_owned(),
        ]
        .map(OsString::from),
    );
    if detach {
        command.push("--detach".into());
    }
    let mut option = |name: &str, value: &Path| {
        command.push(name.into());
        command.push(value.into());
    };
    option("--pid-file", &folder.join(PID));
    option("--bundle", &folder);
    command.push(instance.into());
    command
}

/// The bundle as `runsc` takes it: from the view, in the namespaces that are there already, with limits that its kernel keeps.
fn adjust(config: &mut Value, view: &Path) {
    if let Some(mounts) = config["mounts"].as_array_mut() {
        // Its own idea of groups would show no limit.
        mounts.retain(|mount| mount["type"] != "cgroup");
        let binds = mounts.iter_mut().filter(|mount| mount["type"] == "bind");
        for (number, mount) in binds.enumerate() {
            mount["source"] = json!(Entry::place(view, FIRST_SOURCE + number));
        }
    }
    if let Some(limits) = config["process"]["rlimits"].as_array_mut() {
        let most = inside::MAX_PROCESSES;
        limits.push(json!({ "type": "RLIMIT_NPROC", "soft": most, "hard": most }));
    }
    let mut namespaces: Vec<Value> = ["pid", "ipc", "uts", "mount"]
        .map(|kind| json!({ "type": kind }))
        .into();
    namespaces.push(json!({ "type": "network", "path": "/proc/self/ns/net" }));
    // System calls end in the sentry, which has a filter of its own.
    config["linux"] = json!({ "namespaces": namespaces });
}

/// The engine; nothing is asked of the host yet. `cache` is the folder where set-up keeps the private copy of `runsc`.
pub fn engine(owner: Owner, host: Arc<Host>, cache: &Path) -> Arc<dyn Engine> {
    let gvisor = Gvisor {
        programs: Programs::new(cache),
        trials: Trials::default(),
    };
    Arc::new(OciEngine::new(gvisor, owner, host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundle_is_taken_from_the_view_in_its_order() {
        let mut config = json!({
            "process": { "rlimits": [] },
            "mounts": [
                { "type": "proc", "source": "proc", "destination": "/proc" },
                { "type": "cgroup", "source": "cgroup", "destination": "/sys/fs/cgroup" },
                { "type": "bind", "source": "/data/code", "destination": "/var/task", "options": ["rbind", "ro"] },
                { "type": "bind", "source": "/data/disk", "destination": "/tmp", "options": ["rbind", "rw"] },
            ],
            "linux": { "seccomp": {}, "cgroupsPath": "/warren/x" },
        });
        let source = |path: &str, writable| Source {
            path: path.into(),
            writable,
        };
        let program = Program::at("/cache/runsc".into());
        assert_eq!(
            shown(&program, &config),
            [
                source("/cache/runsc", false),
                source("/data/code", false),
                source("/data/disk", true)
            ]
        );
        adjust(&mut config, Path::new("/view"));
        let mounts = config["mounts"].as_array().unwrap();
        let sources: Vec<_> = mounts.iter().map(|one| one["source"].clone()).collect();
        assert_eq!(sources, ["proc", "/view/2", "/view/3"]);
        assert_eq!(config["process"]["rlimits"][0]["hard"], 1024);
        let linux = config["linux"].as_object().unwrap();
        assert_eq!(linux.keys().collect::<Vec<_>>(), ["namespaces"]);
    }

    #[test]
    fn a_sandbox_without_network_has_none_of_the_host_s() {
        let of = |policy: &NetworkPolicy| {
            let command = command(Path::new("/view"), Platform::Systrap, policy, "i-1", true);
            let words: Vec<_> = command.iter().map(|one| one.to_string_lossy()).collect();
            words.join(" ")
        };
        let none = of(&NetworkPolicy::None);
        assert!(none.starts_with("/view/1 --root /view/0/state "), "{none}");
        assert!(none.contains(" --network=none "), "{none}");
        assert!(of(&NetworkPolicy::Internet).contains(" --network=sandbox "));
        assert!(!none.contains("host ") && !none.contains("--network=host"));
    }
}
