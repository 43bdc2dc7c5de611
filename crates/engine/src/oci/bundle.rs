//! The bundle of one sandbox (OCI runtime-spec 1.0): what it may do is all here.

use std::path::Path;

use rustix::fs::StatVfsMountFlags;
use serde_json::{Value, json};

use super::seccomp;
use crate::{
    Owner, SandboxSpec,
    host::ids::RANGE,
    inside::{self, Shown},
};

/// What a bundle is made of.
pub(crate) struct Parts<'a> {
    pub(crate) spec: &'a SandboxSpec,
    pub(crate) owner: &'a Owner,
    /// The root file system, where it is mounted.
    pub(crate) root: &'a Path,
    /// What it sees of the host besides.
    pub(crate) shown: &'a [Shown<'a>],
    /// The first of its user ids on the host; none: users are the host's.
    pub(crate) first_id: Option<u32>,
    /// A user namespace that it joins; none: the program makes one if there are ids for it.
    pub(crate) user_namespace: Option<&'a Path>,
    /// Its group, from the root of each hierarchy.
    pub(crate) group: String,
}

/// Shows things of the host to the sandbox that it has no use for.
const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// `config.json`.
pub(crate) fn config(parts: &Parts<'_>) -> Value {
    let capabilities = inside::CAPABILITIES.map(|name| format!("CAP_{name}"));
    let mut namespaces: Vec<Value> = ["pid", "network", "ipc", "uts", "mount", "cgroup"]
        .iter()
        .map(|kind| json!({ "type": kind }))
        .collect();
    let mut ids = json!([]);
    if let Some(first) = parts.first_id {
        let mut user = json!({ "type": "user" });
        if let Some(path) = parts.user_namespace {
            user["path"] = json!(path);
        }
        namespaces.push(user);
        ids = json!([{ "containerID": 0, "hostID": first, "size": RANGE }]);
    }
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": inside::command(),
            "env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities,
                "permitted": capabilities,
            },
            "rlimits": [
                limit("RLIMIT_NOFILE", inside::OPEN_FILES),
                limit("RLIMIT_CORE", 0),
            ],
        },
        "root": { "path": parts.root, "readonly": true },
        "hostname": inside::HOST_NAME,
        "mounts": mounts(parts),
        "annotations": {
            "warren.server": parts.owner.server,
            "warren.node": parts.owner.node,
            "warren.boot": parts.owner.boot.to_string(),
            "warren.instance": parts.spec.instance,
        },
        "linux": {
            "namespaces": namespaces,
            "uidMappings": ids,
            "gidMappings": ids,
            "cgroupsPath": parts.group,
            // Its other limits are those of the group, which is there before it.
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "seccomp": seccomp::profile(),
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        },
    })
}

fn limit(name: &str, value: u64) -> Value {
    json!({ "type": name, "soft": value, "hard": value })
}

fn mounts(parts: &Parts<'_>) -> Vec<Value> {
    let system = |kind: &str, target: &str, options: &[&str]| {
        let all = [&["nosuid", "noexec"], options].concat();
        json!({ "type": kind, "source": kind, "destination": target, "options": all })
    };
    let mut mounts = vec![
        system("proc", "/proc", &["nodev"]),
        system(
            "tmpfs",
            "/dev",
            &["strictatime", "mode=755", "size=64k", "nr_inodes=64"],
        ),
        system(
            "devpts",
            "/dev/pts",
            &["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        system("sysfs", "/sys", &["nodev", "ro"]),
        // Runtimes read their limits there.
        system("cgroup", "/sys/fs/cgroup", &["nodev", "ro"]),
    ];
    mounts.extend(parts.shown.iter().map(|shown| {
        let access = if shown.writable { "rw" } else { "ro" };
        let propagation = if shown.follows { "rslave" } else { "rprivate" };
        let mut options = vec!["rbind", propagation, "nosuid", "nodev", access];
        options.extend(kept(shown.source));
        json!({
            "type": "bind",
            "source": shown.source,
            "destination": shown.target,
            "options": options,
        })
    }));
    mounts
}

/// What a file system is mounted with and a user namespace may not take away (mount_namespaces(7), "Restrictions on mount namespaces"). A source that can't be
/// asked is the program's to complain of.
fn kept(source: &Path) -> impl Iterator<Item = &'static str> {
    let flags =
        rustix::fs::statvfs(source).map_or(StatVfsMountFlags::empty(), |found| found.f_flag);
    [
        (StatVfsMountFlags::NOEXEC, "noexec"),
        (StatVfsMountFlags::NOATIME, "noatime"),
        (StatVfsMountFlags::NODIRATIME, "nodiratime"),
        (StatVfsMountFlags::RELATIME, "relatime"),
    ]
    .into_iter()
    .filter_map(move |(flag, name)| flags.contains(flag).then_some(name))
}
