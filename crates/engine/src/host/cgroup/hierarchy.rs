//! Where this host's cgroups are mounted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::place::Place;
use crate::{EngineError, host::mounts};

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Where it is mounted.
    pub(super) root: PathBuf,
    /// Of version 1: its controllers. Of version 2: those that its root offers.
    pub(super) controllers: Vec<String>,
    /// Whether it is version 2.
    pub(super) unified: bool,
}

impl Hierarchy {
    /// All of them, as the kernel lists them for this process.
    pub(super) fn all() -> Result<Vec<Self>, EngineError> {
        let text =
            fs::read(mounts::MOUNTINFO).map_err(EngineError::host("read", mounts::MOUNTINFO))?;
        let text = String::from_utf8_lossy(&text);
        Ok(text
            .lines()
            .filter_map(|line| Self::of_line(line, offered))
            .collect())
    }

    pub(super) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }

    /// Where a group of this name is, from the root.
    pub(super) fn place(&self, name: &Path) -> Place {
        Place {
            folder: self.root.join(name),
            hierarchy: self.clone(),
        }
    }

    /// One line of mountinfo (proc(5)): `id parent device root mount-point options - type source super-options`.
    fn of_line(line: &str, offered: impl Fn(&Path) -> Vec<String>) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let root = PathBuf::from(mount.split(' ').nth(4)?);
        let mut fields = file_system.split(' ');
        let unified = match fields.next()? {
            "cgroup" => false,
            "cgroup2" => true,
            _ => return None,
        };
        let controllers = match unified {
            true => offered(&root),
            false => fields
                .nth(1)?
                .split(',')
                .filter(|option| !matches!(*option, "rw" | "ro" | "xattr"))
                .map(str::to_owned)
                .collect(),
        };
        Some(Self {
            root,
            controllers,
            unified,
        })
    }
}

/// What version 2 has at its root; none where version 1 has all.
fn offered(root: &Path) -> Vec<String> {
    fs::read_to_string(root.join("cgroup.controllers"))
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_versions() {
        let line = |text| Hierarchy::of_line(text, |_| vec!["memory".to_owned()]);
        let first = line(
            "40 32 0:34 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:16 - cgroup cgroup rw,cpu,cpuacct",
        )
        .unwrap();
        assert!(!first.unified && first.has("cpu") && first.has("cpuacct") && !first.has("rw"));
        assert_eq!(first.root, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        let second =
            line("30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate")
                .unwrap();
        assert!(second.unified && second.has("memory"));
        let named = line(
            "41 32 0:35 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,name=systemd",
        );
        assert_eq!(named.unwrap().controllers, ["name=systemd"]);
        assert_eq!(line("22 1 254:0 / / rw - ext4 /dev/vda rw"), None);
    }
}
