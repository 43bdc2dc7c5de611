//! What the server asks of its host.

use rustix::system::{sysinfo, uname};

/// Share of the host's memory that instances may hold, in percent.
const MEMORY_SHARE: u64 = 80;

/// 80 % of the host's memory, in MB.
pub(super) fn memory_for_instances_mb() -> u64 {
    let info = sysinfo();
    ((info.totalram as u64 * u64::from(info.mem_unit)) >> 20) * MEMORY_SHARE / 100
}

/// The host's name, for labels.
pub(super) fn node_name() -> String {
    uname().nodename().to_string_lossy().into_owned()
}

/// Threads that move calls. The work of a call is a few system calls; its runtime needs the processors more.
pub(super) fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| (n.get() / 2).max(1))
}
