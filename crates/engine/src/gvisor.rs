//! One gVisor sandbox for each instance: `runsc` starts it from the same bundle as `runc`, and then a kernel in user space (the sentry) stands between the
//! function and the host's. Files go through a second process (the gofer); packets through the sentry's own network stack.
//!
//! `runsc` uses no cgroups here: sentry, gofer and what runs the function's code are in a group of ours ([`Entry`](crate::oci::Entry)), whose limits hold
//! whatever they do.

mod command;
mod program;
mod trial;

use std::{
    fs, io,
    os::unix::fs::{chown, lchown},
    path::Path,
    process::ExitStatus,
    sync::Arc,
};

use async_trait::async_trait;
use serde_json::{Value, json};
use warren_model::{EngineName, Memory, NetworkPolicy};

use self::{
    command::{RUNSC, Runsc},
    program::Programs,
    trial::Trials,
};
use crate::{
    Engine, EngineError, Owner, Unavailable,
    host::{
        Host, Seen,
        cgroup::{Cgroup, Group, Limits},
    },
    inside,
    oci::{
        Entry, Ground, LOG, OUTPUT, OciEngine, PID, Program, Runtime, STATE, Source, Standing,
        Start, words,
    },
};

/// Memory of sentry and gofer beside the function's own, as they are in its group: 12 MiB of their own and 2 MiB of the kernel's were measured under a light
/// Python function, and as much under one that had touched 1 GB; the rest is for a start, and for what a busy function makes them keep.
const OWN_MEMORY_MB: u32 = 24;
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
    const SEEN: Seen = Seen::Within;
    const RESTORES: bool = true;
    /// The sentry's `/proc/meminfo`.
    const SIZED_AT_START: bool = true;
    const OVERHEAD_MB: u32 = OWN_MEMORY_MB;

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
        with_room(Limits::of(memory))
    }

    /// Sentry and stubs map the memory of the function, each for itself.
    fn figures(&self, group: &Group) -> Option<Cgroup> {
        group.figures().map(Cgroup::of_sharers)
    }

    fn adjust(&self, config: &mut Value, view: &Path) {
        adjust(config, view);
    }

    async fn run(&self, start: &Start<'_>) -> Result<ExitStatus, EngineError> {
        let first_id = start
            .first_id
            .ok_or_else(|| start.failed("this host allows no user namespaces"))?;
        let mut shown = shown(start.program, start.config);
        // Behind all that the bundle names by number.
        let image = start.image.map(|image| {
            shown.push(Source {
                path: image.to_owned(),
                writable: false,
            });
            shown.len()
        });
        let runsc = Runsc {
            view: start.view,
            platform: self.trials.chosen(),
            network: &start.spec.network,
            instance: start.spec.instance.as_str(),
        };
        let entry = Entry {
            group: start.group,
            first_id,
            folder: start.instance.folder(),
            state: &start.instance.folder().join(STATE),
            view: start.view,
            shown: &shown,
            memory: start.spec.memory.bytes(),
            command: &match image {
                Some(image) => runsc.restore(&Entry::place(start.view, image)),
                None => runsc.run(true),
            },
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

    async fn checkpoint(&self, sandbox: &Standing<'_>, image: &Path) -> Result<(), EngineError> {
        let program = self.program().map_err(EngineError::Unavailable)?;
        let folder = sandbox.instance.folder();
        let failed = |output: String| EngineError::Program {
            program: program.path().display().to_string(),
            output,
        };
        let first_id = sandbox
            .first_id
            .ok_or_else(|| failed("there are no user ids of its own".to_owned()))?;
        let owned = |id: u32| {
            chown(image, Some(id), Some(id))
                .map_err(EngineError::host("change the owner of", image))
        };
        owned(first_id)?;
        let output = folder.join(OUTPUT);
        let output = fs::OpenOptions::new()
            .append(true)
            .open(&output)
            .map_err(EngineError::host("open", &output))?;
        let shown = [
            Source::of(&program),
            Source {
                path: image.to_owned(),
                writable: true,
            },
        ];
        let runsc = Runsc {
            view: sandbox.view,
            platform: self.trials.chosen(),
            network: &NetworkPolicy::None,
            instance: sandbox.instance.id().as_str(),
        };
        let entry = Entry {
            group: sandbox.group,
            first_id,
            folder,
            state: &folder.join(STATE),
            view: sandbox.view,
            shown: &shown,
            memory: Memory::default().bytes(),
            command: &runsc.checkpoint(&Entry::place(sandbox.view, shown.len())),
            output: &output,
        };
        let status = entry.begin().await?.go().await?;
        if !status.success() {
            return Err(failed(format!("{} ({status})", words(folder))));
        }
        // Nobody who is restored from it can change it.
        owned(0)?;
        for file in fs::read_dir(image).map_err(EngineError::host("read", image))? {
            let file = file.map_err(EngineError::host("read", image))?.path();
            lchown(&file, Some(0), Some(0))
                .map_err(EngineError::host("change the owner of", &file))?;
        }
        Ok(())
    }
}

fn with_room(limits: Limits) -> Limits {
    limits.with_room(u64::from(OWN_MEMORY_MB) << 20, HOST_PROCESSES)
}

/// The first of [`shown`]'s sources in the view; the instance's folder and the program are before it.
const FIRST_SOURCE: usize = RUNSC + 1;

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
}
