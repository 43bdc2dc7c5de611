//! What a control group may use, in the words of both versions.

use warren_model::Memory;

use super::hierarchy::Hierarchy;
use crate::inside;

/// What a group may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes, swap included.
    memory: u64,
    cpu_shares: u64,
    processes: u64,
}

impl Limits {
    /// Of an instance with this much memory.
    pub(crate) fn of(memory: Memory) -> Self {
        Self {
            memory: memory.bytes(),
            cpu_shares: inside::cpu_shares(memory),
            processes: inside::MAX_PROCESSES,
        }
    }

    /// The same with room for what the engine itself has in the group: bytes, and as many processes and threads of the host as this in all.
    pub(crate) fn with_room(self, memory: u64, processes: u64) -> Self {
        Self {
            memory: self.memory + memory,
            processes,
            ..self
        }
    }
}

impl Limits {
    /// The files of a hierarchy with their values, in the order in which they must be set.
    pub(super) fn files(&self, hierarchy: &Hierarchy) -> Vec<(&'static str, String)> {
        let mut files = Vec::new();
        let mut put = |controller: &str, file, value: u64| {
            if hierarchy.has(controller) {
                files.push((file, value.to_string()));
            }
        };
        if hierarchy.unified {
            put("memory", "memory.max", self.memory);
            put("memory", "memory.swap.max", 0);
            put("cpu", "cpu.weight", weight(self.cpu_shares));
        } else {
            put("memory", "memory.limit_in_bytes", self.memory);
            put("memory", "memory.memsw.limit_in_bytes", self.memory);
            // What waits in TCP connections; version 2 counts it with all other memory.
            put("memory", "memory.kmem.tcp.limit_in_bytes", self.memory);
            put("cpu", "cpu.shares", self.cpu_shares);
        }
        put("pids", "pids.max", self.processes);
        files
    }
}

/// Shares of version 1 (2 to 262144) as a weight of version 2 (1 to 10000), as OCI runtimes convert them (runtime-spec, config-linux.md, "CPU").
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hierarchy(unified: bool, controllers: &[&str]) -> Hierarchy {
        Hierarchy {
            root: "/nowhere".into(),
            controllers: controllers.iter().map(|&name| name.to_owned()).collect(),
            unified,
        }
    }

    #[test]
    fn limits_are_said_to_each_hierarchy_in_its_words() {
        let limits = Limits::of(Memory::new(1769).unwrap());
        let bytes = (1769_u64 << 20).to_string();
        assert_eq!(
            limits.files(&hierarchy(false, &["memory"])),
            [
                ("memory.limit_in_bytes", bytes.clone()),
                ("memory.memsw.limit_in_bytes", bytes.clone()),
                ("memory.kmem.tcp.limit_in_bytes", bytes.clone())
            ]
        );
        assert_eq!(
            limits.files(&hierarchy(true, &["cpu", "memory", "pids", "io"])),
            [
                ("memory.max", bytes),
                ("memory.swap.max", "0".to_owned()),
                ("cpu.weight", "39".to_owned()),
                ("pids.max", "1024".to_owned()),
            ]
        );
        assert_eq!(limits.files(&hierarchy(true, &[])), []);
    }
}
