//! What a sandbox is like from inside: the same on every engine (docs/decisions/0001).

use std::path::Path;

use warren_model::Memory;
use warren_protocol::CHANNEL_FOLDER;

use crate::{SandboxSpec, host::Instance};

/// Where the agent is.
pub(crate) const AGENT: &str = "/usr/lib/warren/agent";
/// The name that the sandbox has for itself.
pub(crate) const HOST_NAME: &str = "warren";
/// Processes and threads, as on Lambda (quota page: 1,024).
pub(crate) const MAX_PROCESSES: u64 = 1024;
/// Open files of one process.
pub(crate) const OPEN_FILES: u64 = 1024;
/// The agent's, for life: it starts, signals and ends runtimes of another uid (decision 0001, point 4).
pub(crate) const CAPABILITIES: [&str; 3] = ["SETUID", "SETGID", "KILL"];

/// Memory that buys one whole processor on Lambda, in MiB (Developer Guide, "Configure memory").
const MEMORY_PER_CPU: u64 = 1769;
/// The kernel's weight of one whole processor (cgroup version 1, `cpu.shares`).
const SHARES_PER_CPU: u64 = 1024;

/// A folder or file of the host that the sandbox sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown<'a> {
    /// On the host.
    pub(crate) source: &'a Path,
    /// Inside.
    pub(crate) target: &'static str,
    /// Whether it can be written.
    pub(crate) writable: bool,
    /// Whether what is mounted at the source later is seen inside.
    pub(crate) follows: bool,
}

/// The agent's command.
pub(crate) fn command() -> [&'static str; 2] {
    [AGENT, CHANNEL_FOLDER]
}

/// All that the sandbox sees of the host besides its root.
pub(crate) fn shown<'a>(
    spec: &'a SandboxSpec,
    instance: &'a Instance,
    disk: &'a Path,
    resolv_conf: Option<&'a Path>,
) -> Vec<Shown<'a>> {
    let one = |source, target, writable| Shown {
        source,
        target,
        writable,
        follows: false,
    };
    let mut shown = vec![
        one(spec.agent.as_path(), AGENT, false),
        Shown {
            follows: true,
            ..one(instance.task(), "/var/task", false)
        },
        one(disk, "/tmp", true),
        one(instance.channel().folder(), CHANNEL_FOLDER, true),
    ];
    if let Some(folder) = &spec.runtime_folder {
        shown.push(one(folder, "/var/runtime", false));
    }
    if let Some(file) = resolv_conf {
        shown.push(one(file, "/etc/resolv.conf", false));
    }
    shown
}

/// The processor weight that goes with this much memory.
pub(crate) fn cpu_shares(memory: Memory) -> u64 {
    (u64::from(memory.get()) * SHARES_PER_CPU / MEMORY_PER_CPU).max(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_share_follows_memory() {
        let shares = |mb| cpu_shares(Memory::new(mb).unwrap());
        assert_eq!(shares(128), 74);
        assert_eq!(shares(1769), 1024);
        assert_eq!(shares(3538), 2048);
    }
}
