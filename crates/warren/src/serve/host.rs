//! What the server asks of its host.

use std::{fs, io, path::Path};

use rustix::{
    fs::StatVfsMountFlags,
    process::{Resource, Rlimit, getrlimit, setrlimit},
    system::{sysinfo, uname},
};

/// Share of the host's memory that instances may hold, in percent.
const MEMORY_SHARE: u64 = 80;
/// Open files of one instance: two streams, the agent's socket and three files of its cgroup.
const FILES_PER_INSTANCE: u64 = 6;
/// Most open files that are asked for: programs that the server starts get the limit too, and some look at each number below it.
const MOST_FILES: u64 = 1 << 20;

/// Memory for sandboxes that are started ahead, unless the operator says otherwise.
const MOST_STEM_MEMORY_MB: u64 = 512;
/// What one is taken to hold before it was measured.
const LEAST_STEM_MEMORY_MB: u64 = 40;

/// 80 % of the memory that this process may use, in MB: the host's, or what its cgroup allows.
pub(super) fn memory_for_instances_mb() -> u64 {
    let info = sysinfo();
    let host = info.totalram as u64 * u64::from(info.mem_unit);
    let cgroup = fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|membership| cgroup_limit(&membership, Path::new("/sys/fs/cgroup")));
    (cgroup.map_or(host, |limit| limit.min(host)) >> 20) * MEMORY_SHARE / 100
}

/// Memory for sandboxes that are started ahead: a small share of all, and none where it would hold none.
pub(super) fn stem_memory_mb(all_mb: u64) -> u64 {
    match (all_mb / 20).min(MOST_STEM_MEMORY_MB) {
        ..LEAST_STEM_MEMORY_MB => 0,
        share => share,
    }
}

/// The smallest memory limit of the cgroups that `/proc/PID/cgroup` (cgroups(7)) names and of those above them, in bytes.
fn cgroup_limit(membership: &str, root: &Path) -> Option<u64> {
    membership
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?);
            let (hierarchy, file) = if controllers.is_empty() {
                (root.to_owned(), "memory.max")
            } else if controllers.split(',').any(|name| name == "memory") {
                (root.join("memory"), "memory.limit_in_bytes")
            } else {
                return None;
            };
            // In a container the path may be the host's while the container's own cgroup is mounted at the root; folders that aren't there have no limit.
            let own = hierarchy.join(path.trim_start_matches('/'));
            own.ancestors()
                .take_while(|folder| folder.starts_with(&hierarchy))
                .filter_map(|folder| fs::read_to_string(folder.join(file)).ok())
                // `max` is no number.
                .filter_map(|text| text.trim().parse::<u64>().ok())
                .min()
        })
        .min()
}

/// Raises the limit of open files as far as it goes, and gives it.
pub(super) fn raise_open_files() -> u64 {
    let found = getrlimit(Resource::Nofile);
    let current = found.current.unwrap_or(MOST_FILES);
    let wanted = found.maximum.unwrap_or(MOST_FILES).min(MOST_FILES);
    if wanted <= current {
        return current;
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum: found.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::warn!(%error, current, wanted, "the limit of open files could not be raised");
            current
        }
    }
}

/// Instances that so many open files are enough for: a quarter is kept for callers, the database, logs and builds.
pub(super) fn instances_for_files(files: u64) -> u32 {
    let instances = (files - files / 4) / FILES_PER_INSTANCE;
    u32::try_from(instances).unwrap_or(u32::MAX).max(1)
}

/// The host's name, for labels.
pub(crate) fn node_name() -> String {
    uname().nodename().to_string_lossy().into_owned()
}

/// Threads that move calls. The work of a call is a few system calls; its runtime needs the processors more.
pub(super) fn worker_threads() -> usize {
    (processors() / 2).max(1)
}

/// Processors that this process may use.
pub(super) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Whether programs can be run from the file system of this folder (not mounted noexec). An error if it can't be asked.
pub(crate) fn runs_programs(folder: &Path) -> io::Result<bool> {
    let flags = rustix::fs::statvfs(folder)?.f_flag;
    Ok(!flags.contains(StatVfsMountFlags::NOEXEC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_limit_holds_fewer_instances_than_the_default() {
        assert_eq!(instances_for_files(1024), 128);
        assert_eq!(instances_for_files(20_000), 2_500);
        assert_eq!(instances_for_files(0), 1);
    }

    #[test]
    fn what_is_started_ahead_is_a_small_share_or_nothing() {
        assert_eq!(stem_memory_mb(256), 0);
        assert_eq!(stem_memory_mb(799), 0);
        assert_eq!(stem_memory_mb(800), 40);
        assert_eq!(stem_memory_mb(6_553), 327);
        assert_eq!(stem_memory_mb(64_000), 512);
    }

    #[test]
    fn the_smallest_cgroup_limit_counts() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("a/memory.max", "1000\n");
        put("a/b/memory.max", "max\n");
        assert_eq!(cgroup_limit("0::/a/b\n", root.path()), Some(1000));
        put("memory/memory.limit_in_bytes", "700\n");
        let version_1 = "4:cpu,memory:/docker/abc\n2:pids:/a\n0::/\n";
        assert_eq!(cgroup_limit(version_1, root.path()), Some(700));
        assert_eq!(cgroup_limit("2:pids:/a\n", root.path()), None);
    }
}
