//! Stops all processes of a cgroup where they are: the freezer of version 1, `cgroup.freeze` of version 2.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::place::{Place, is_gone, write_existing};
use crate::EngineError;

const ROOT: &str = "/sys/fs/cgroup";

/// The switch of one cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Freezer {
    file: PathBuf,
    frozen: &'static str,
    thawed: &'static str,
}

impl Freezer {
    /// That of the cgroup of a process of this host. None if it is gone or this host has no freezer.
    pub(crate) fn of_process(pid: u32) -> Option<Self> {
        let membership = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        Self::within(&membership, Path::new(ROOT))
    }

    /// As [`Self::of_process`], from the text of `/proc/PID/cgroup` (cgroups(7)) and where cgroups are mounted.
    fn within(membership: &str, root: &Path) -> Option<Self> {
        let mut unified = None;
        for line in membership.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
            if path.is_empty() {
                // The root can't be frozen, and is nobody's own.
                continue;
            }
            if controllers.split(',').any(|name| name == "freezer") {
                return Some(Self::of_version_1(&root.join("freezer").join(path)));
            }
            if controllers.is_empty() {
                unified = Some(Self::of_version_2(&root.join(path)));
            }
        }
        unified.filter(|found| found.file.exists())
    }

    /// That of a group of ours; none where this hierarchy has no freezer.
    pub(super) fn of_place(place: &Place) -> Option<Self> {
        match (place.hierarchy.unified, place.hierarchy.has("freezer")) {
            (false, true) => Some(Self::of_version_1(&place.folder)),
            (false, false) => None,
            (true, _) => Some(Self::of_version_2(&place.folder)).filter(|one| one.file.exists()),
        }
    }

    fn of_version_1(folder: &Path) -> Self {
        Self {
            file: folder.join("freezer.state"),
            frozen: "FROZEN",
            thawed: "THAWED",
        }
    }

    fn of_version_2(folder: &Path) -> Self {
        Self {
            file: folder.join("cgroup.freeze"),
            frozen: "1",
            thawed: "0",
        }
    }

    /// Begins to stop all processes; none of them runs long any more when this returns.
    pub(crate) fn freeze(&self) -> Result<(), EngineError> {
        write_existing(&self.file, self.frozen).map_err(EngineError::host("freeze by", &self.file))
    }

    /// Lets them go on. A cgroup that is gone has none.
    pub(crate) fn thaw(&self) -> Result<(), EngineError> {
        match write_existing(&self.file, self.thawed) {
            Err(error) if is_gone(&error) => Ok(()),
            outcome => outcome.map_err(EngineError::host("thaw by", &self.file)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_is_found_in_both_versions() {
        let root = tempfile::tempdir().unwrap();
        let of = |membership: &str| {
            let found = Freezer::within(membership, root.path())?;
            Some((
                found.file.strip_prefix(root.path()).unwrap().to_owned(),
                found.frozen,
            ))
        };
        let first = "9:freezer:/docker/a\n4:cpu,cpuacct:/docker/a\n0::/\n";
        let file = PathBuf::from("freezer/docker/a/freezer.state");
        assert_eq!(of(first), Some((file, "FROZEN")));
        fs::create_dir_all(root.path().join("a")).unwrap();
        fs::write(root.path().join("a/cgroup.freeze"), "0").unwrap();
        assert_eq!(of("0::/a\n"), Some(("a/cgroup.freeze".into(), "1")));
        // A process that is in no group of its own is nobody's to stop.
        assert_eq!(of("9:freezer:/\n0::/\n"), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn a_group_that_is_gone_is_thawed() {
        let gone = Freezer {
            file: "/nowhere/freezer.state".into(),
            frozen: "FROZEN",
            thawed: "THAWED",
        };
        gone.thaw().unwrap();
        assert!(gone.freeze().is_err());
    }
}
