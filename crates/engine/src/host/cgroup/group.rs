//! Groups of our own: one for each instance, below one of the server. What is in a group is ours, so a group that is found tells what to end.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use warren_model::{EngineName, InstanceId, ServerId};

use super::{Cgroup, Freezer, hierarchy::Hierarchy, limits::Limits, place::Place};
use crate::EngineError;

/// Above the groups of all servers.
const TOP: &str = "warren";
/// Controllers that limit and measure; the freezer stops a whole instance.
const CONTROLLERS: [&str; 5] = ["memory", "cpu", "cpuacct", "pids", "freezer"];
/// Those of them that a hierarchy of version 2 must give to its groups by name.
const DELEGATED: [&str; 3] = ["memory", "cpu", "pids"];
/// The file by which it does.
const SUBTREE: &str = "cgroup.subtree_control";
/// How long a killed process may stay in its group: it ends once the kernel has taken its memory back.
const END: Duration = Duration::from_secs(10);
/// Between looks whether it has.
const LOOK: Duration = Duration::from_millis(2);

/// The groups of one server's instances on one engine.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    /// From the root of each hierarchy: `warren/<server>-<engine>`.
    name: PathBuf,
    hierarchies: Vec<Hierarchy>,
}

impl Slice {
    /// Finds the hierarchies; makes nothing.
    pub(crate) fn find(server: &ServerId, engine: EngineName) -> Result<Self, EngineError> {
        Ok(Self {
            name: Path::new(TOP).join(format!("{server}-{engine}")),
            hierarchies: Hierarchy::all()?,
        })
    }

    /// The first controller without which limits would not hold here, if any is missing.
    pub(crate) fn missing(&self) -> Option<&'static str> {
        let has = |controller: &&&str| self.hierarchies.iter().any(|one| one.has(controller));
        DELEGATED
            .iter()
            .find(|controller| !has(controller))
            .copied()
    }

    /// The version in which memory is limited.
    pub(crate) fn version(&self) -> u8 {
        let unified = |one: &Hierarchy| one.unified && one.has("memory");
        if self.hierarchies.iter().any(unified) {
            2
        } else {
            1
        }
    }

    /// The group of an instance, whether it exists or not.
    pub(crate) fn group(&self, instance: &InstanceId) -> Group {
        let name = self.name.join(instance.as_str());
        Group {
            places: self.places(&name),
            name,
        }
    }

    /// Makes the group of an instance with its limits. On an error the caller removes it. Blocking, about a millisecond.
    pub(crate) fn create(
        &self,
        instance: &InstanceId,
        limits: &Limits,
    ) -> Result<Group, EngineError> {
        let group = self.group(instance);
        for place in &group.places {
            let (hierarchy, folder) = (&place.hierarchy, &place.folder);
            if !CONTROLLERS.iter().any(|name| hierarchy.has(name)) {
                continue;
            }
            if hierarchy.unified {
                self.delegate(hierarchy)?;
            }
            fs::create_dir_all(folder).map_err(EngineError::host("create the cgroup", folder))?;
            for (file, value) in limits.files(hierarchy) {
                place.set(file, &value)?;
            }
        }
        Ok(group)
    }

    /// Version 2 gives a controller only to groups whose parents pass it on.
    fn delegate(&self, hierarchy: &Hierarchy) -> Result<(), EngineError> {
        let parents = [Path::new(""), Path::new(TOP), self.name.as_path()];
        for parent in parents.map(|parent| hierarchy.place(parent)) {
            let folder = &parent.folder;
            fs::create_dir_all(folder).map_err(EngineError::host("create the cgroup", folder))?;
            let passed = parent.read(SUBTREE)?.unwrap_or_default();
            for controller in DELEGATED.iter().filter(|name| hierarchy.has(name)) {
                if !passed.split_whitespace().any(|name| name == *controller) {
                    parent.set(SUBTREE, &format!("+{controller}"))?;
                }
            }
        }
        Ok(())
    }

    fn places(&self, name: &Path) -> Vec<Place> {
        self.hierarchies.iter().map(|one| one.place(name)).collect()
    }

    /// Whose groups there are, in any hierarchy.
    pub(crate) fn instances(&self) -> Result<BTreeSet<InstanceId>, EngineError> {
        let mut found = BTreeSet::new();
        for hierarchy in &self.hierarchies {
            let folder = hierarchy.root.join(&self.name);
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                outcome => outcome.map_err(EngineError::host("read the cgroup", &folder))?,
            };
            for entry in entries {
                let path = entry
                    .map_err(EngineError::host("read the cgroup", &folder))?
                    .path();
                if let (true, Some(name)) = (path.is_dir(), path.file_name()) {
                    found.insert(InstanceId::new(name.to_string_lossy()));
                }
            }
        }
        Ok(found)
    }

    /// Removes the server's own group, once no instance has one; the top one stays for other servers, unless it is empty too.
    pub(crate) fn remove(&self) -> Result<(), EngineError> {
        for place in self.places(&self.name) {
            place.remove()?;
            // Another server's group may be in it.
            let _ = fs::remove_dir(place.hierarchy.root.join(TOP));
        }
        Ok(())
    }
}

/// One instance's group, in every hierarchy.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    name: PathBuf,
    /// In each hierarchy.
    places: Vec<Place>,
}

impl Group {
    /// Gives it, which exists, larger limits. Blocking, some ten microseconds.
    pub(crate) fn raise(&self, limits: &Limits) -> Result<(), EngineError> {
        for place in &self.places {
            // Version 1 keeps memory below memory with swap at each step, so the last comes first.
            for (file, value) in limits.files(&place.hierarchy).iter().rev() {
                place.set(file, value)?;
            }
        }
        Ok(())
    }

    /// Its switch; none if it is gone or this host has no freezer.
    pub(crate) fn freezer(&self) -> Option<Freezer> {
        self.there().find_map(Freezer::of_place)
    }

    /// Its figures; none if it is gone or its controllers are not there.
    pub(crate) fn figures(&self) -> Option<Cgroup> {
        let of = |controller: &str| self.there().find(|place| place.hierarchy.has(controller));
        let memory = of("memory")?;
        Cgroup::of_places(memory, of("cpuacct").unwrap_or(memory))
    }

    fn there(&self) -> impl Iterator<Item = &Place> {
        self.places.iter().filter(|place| place.exists())
    }

    /// From the root of each hierarchy, as OCI's `cgroupsPath` has it.
    pub(crate) fn path(&self) -> String {
        format!("/{}", self.name.display())
    }

    /// Where a process joins it: its folders that are there, one for each hierarchy that limits or measures.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.there().map(|place| place.folder.as_path())
    }

    /// Whether a process of this host is in it.
    pub(crate) fn holds(&self, pid: u32) -> bool {
        let membership = fs::read_to_string(format!("/proc/{pid}/cgroup"));
        membership.is_ok_and(|text| text.lines().any(|line| line.ends_with(&self.path())))
    }

    /// Kills all that is in it and removes it; repeating does nothing. Blocking until its processes are gone.
    pub(crate) fn end(&self) -> Result<(), EngineError> {
        let deadline = Instant::now() + END;
        while self.kill()? > 0 {
            if Instant::now() > deadline {
                return Err(EngineError::host("end the processes of", &self.name)(
                    io::ErrorKind::TimedOut.into(),
                ));
            }
            std::thread::sleep(LOOK);
        }
        self.places.iter().try_for_each(Place::remove)
    }

    /// Kills what is in it now; answers how many processes there were.
    fn kill(&self) -> Result<usize, EngineError> {
        let mut found = BTreeSet::new();
        for place in &self.places {
            let text = place.read("cgroup.procs")?.unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        // Version 1 keeps a frozen process from its end.
        if let Some(freezer) = self.freezer() {
            freezer.thaw()?;
        }
        for pid in found.iter().copied().filter_map(Pid::from_raw) {
            match kill_process(pid, Signal::KILL) {
                // It ended by itself.
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(errno) => {
                    return Err(EngineError::host("kill a process of", &self.name)(
                        errno.into(),
                    ));
                }
            }
        }
        Ok(found.len())
    }
}

#[cfg(test)]
mod tests {
    use warren_model::Memory;

    use super::*;

    fn hierarchy(unified: bool, controllers: &[&str]) -> Hierarchy {
        Hierarchy {
            root: "/nowhere".into(),
            controllers: controllers.iter().map(|&name| name.to_owned()).collect(),
            unified,
        }
    }

    #[test]
    fn a_controller_that_is_missing_is_named() {
        let slice = |hierarchies| Slice {
            name: "warren/s".into(),
            hierarchies,
        };
        let all = slice(vec![hierarchy(false, &["memory", "cpu", "pids"])]);
        assert_eq!((all.missing(), all.version()), (None, 1));
        let some = slice(vec![hierarchy(true, &["memory", "pids"])]);
        assert_eq!((some.missing(), some.version()), (Some("cpu"), 2));
    }

    #[test]
    fn a_group_is_made_with_limits_and_ends_with_what_is_in_it() {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: cgroups need root");
            return;
        }
        let slice = Slice::find(&ServerId::random(), EngineName::named("runc")).unwrap();
        if let Some(missing) = slice.missing() {
            println!("SKIPPED: this host has no cgroup controller {missing}");
            return;
        }
        let id = InstanceId::random();
        let group = slice
            .create(&id, &Limits::of(Memory::new(128).unwrap()))
            .unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        for folder in group.folders() {
            fs::write(folder.join("cgroup.procs"), child.id().to_string()).unwrap();
        }
        assert!(group.holds(child.id()) && !group.holds(std::process::id()));
        // Files that this kernel has not: no group of either version has both of the first two.
        let place = group.there().next().unwrap();
        for name in ["memory.swap.max", "memory.memsw.limit_in_bytes"] {
            let kept = place.read(name).unwrap();
            place.set(name, kept.as_deref().unwrap_or("0")).unwrap();
        }
        let error = place.set("memory.no-such-limit", "0").unwrap_err();
        let EngineError::Host { source, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(source.kind(), io::ErrorKind::NotFound, "{error}");
        // What it is frozen and measured by is its own, whatever its processes do.
        assert!(group.figures().unwrap().usage().is_some());
        let by_process = Freezer::of_process(child.id());
        assert_eq!(group.freezer().is_some(), by_process.is_some());
        if let Some(freezer) = group.freezer() {
            freezer.freeze().unwrap();
        }
        assert_eq!(slice.instances().unwrap(), BTreeSet::from([id.clone()]));
        // A zombie is in no group.
        group.end().unwrap();
        assert_eq!(child.wait().unwrap().code(), None);
        group.end().unwrap();
        assert!(group.figures().is_none() && group.freezer().is_none());
        assert!(slice.instances().unwrap().is_empty());
        slice.remove().unwrap();
    }
}
