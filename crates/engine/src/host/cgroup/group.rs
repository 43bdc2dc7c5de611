//! Groups of our own: one for each instance, below one of the server. What is in a group is ours, so a group that is found tells what to end.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use warren_model::{EngineName, InstanceId, Memory, ServerId};

use super::hierarchy::Hierarchy;
use crate::{EngineError, inside};

/// Above the groups of all servers.
const TOP: &str = "warren";
/// Controllers that limit and measure; the freezer stops a whole instance.
const CONTROLLERS: [&str; 5] = ["memory", "cpu", "cpuacct", "pids", "freezer"];
/// Those of them that a hierarchy of version 2 must give to its groups by name.
const DELEGATED: [&str; 3] = ["memory", "cpu", "pids"];
/// How long a killed process may stay in its group: it ends once the kernel has taken its memory back.
const END: Duration = Duration::from_secs(10);
/// Between looks whether it has.
const LOOK: Duration = Duration::from_millis(2);

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
        let folders = self.hierarchies.iter().map(|one| one.root.join(&name));
        Group {
            folders: folders.collect(),
            hierarchies: self.hierarchies.clone(),
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
        for (hierarchy, folder) in self.hierarchies.iter().zip(&group.folders) {
            if !CONTROLLERS.iter().any(|name| hierarchy.has(name)) {
                continue;
            }
            if hierarchy.unified {
                self.delegate(hierarchy)?;
            }
            fs::create_dir_all(folder).map_err(EngineError::host("create the cgroup", folder))?;
            for (file, value) in limits.files(hierarchy) {
                set(&folder.join(file), &value)?;
            }
        }
        Ok(group)
    }

    /// Version 2 gives a controller only to groups whose parents pass it on.
    fn delegate(&self, hierarchy: &Hierarchy) -> Result<(), EngineError> {
        let parents = [Path::new(""), Path::new(TOP), self.name.as_path()];
        for parent in parents.map(|parent| hierarchy.root.join(parent)) {
            fs::create_dir_all(&parent).map_err(EngineError::host("create the cgroup", &parent))?;
            let file = parent.join("cgroup.subtree_control");
            let passed = fs::read_to_string(&file).map_err(EngineError::host("read", &file))?;
            for controller in DELEGATED.iter().filter(|name| hierarchy.has(name)) {
                if !passed.split_whitespace().any(|name| name == *controller) {
                    set(&file, &format!("+{controller}"))?;
                }
            }
        }
        Ok(())
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
        for hierarchy in &self.hierarchies {
            remove_folder(&hierarchy.root.join(&self.name))?;
            // Another server's group may be in it.
            let _ = fs::remove_dir(hierarchy.root.join(TOP));
        }
        Ok(())
    }
}

impl Limits {
    /// The files of a hierarchy with their values, in the order in which they must be set.
    fn files(&self, hierarchy: &Hierarchy) -> Vec<(&'static str, String)> {
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

/// A kernel that does not count swap or sockets by cgroup has no file for them.
fn set(file: &Path, value: &str) -> Result<(), EngineError> {
    let optional = [
        "memory.memsw.limit_in_bytes",
        "memory.kmem.tcp.limit_in_bytes",
        "memory.swap.max",
    ];
    match fs::write(file, value) {
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                && optional.iter().any(|name| file.ends_with(name)) =>
        {
            Ok(())
        }
        outcome => outcome.map_err(EngineError::host("set", file)),
    }
}

/// One instance's group, in every hierarchy.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    name: PathBuf,
    hierarchies: Vec<Hierarchy>,
    /// In each of them.
    folders: Vec<PathBuf>,
}

impl Group {
    /// Gives it, which exists, larger limits. Blocking, some ten microseconds.
    pub(crate) fn raise(&self, limits: &Limits) -> Result<(), EngineError> {
        for (hierarchy, folder) in self.hierarchies.iter().zip(&self.folders) {
            // Version 1 keeps memory below memory with swap at each step, so the last comes first.
            for (file, value) in limits.files(hierarchy).iter().rev() {
                set(&folder.join(file), value)?;
            }
        }
        Ok(())
    }

    /// From the root of each hierarchy, as OCI's `cgroupsPath` has it.
    pub(crate) fn path(&self) -> String {
        format!("/{}", self.name.display())
    }

    /// Where a process joins it: its folders that are there, one for each hierarchy that limits or measures.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders
            .iter()
            .map(PathBuf::as_path)
            .filter(|folder| folder.exists())
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
                let path = self.folders.first().cloned().unwrap_or_default();
                return Err(EngineError::host("end the processes of", path)(
                    io::ErrorKind::TimedOut.into(),
                ));
            }
            std::thread::sleep(LOOK);
        }
        self.folders
            .iter()
            .try_for_each(|folder| remove_folder(folder))
    }

    /// Kills what is in it now; answers how many processes there were.
    fn kill(&self) -> Result<usize, EngineError> {
        let mut found = BTreeSet::new();
        for folder in &self.folders {
            let file = folder.join("cgroup.procs");
            match fs::read_to_string(&file) {
                Ok(text) => found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
                Err(error) if gone(&error) => {}
                Err(error) => return Err(EngineError::host("read", file)(error)),
            }
        }
        // Version 1 keeps a frozen process from its end.
        for folder in &self.folders {
            match fs::write(folder.join("freezer.state"), "THAWED") {
                Err(error) if !gone(&error) && error.kind() != io::ErrorKind::PermissionDenied => {
                    return Err(EngineError::host("thaw", folder)(error));
                }
                _ => {}
            }
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

fn gone(error: &io::Error) -> bool {
    const ENODEV: i32 = 19;
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ENODEV)
}

/// A group that has just been left may be busy for a moment.
fn remove_folder(folder: &Path) -> Result<(), EngineError> {
    let deadline = Instant::now() + END;
    loop {
        match fs::remove_dir(folder) {
            Ok(()) => return Ok(()),
            Err(error) if gone(&error) => return Ok(()),
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline =>
            {
                std::thread::sleep(LOOK);
            }
            Err(error) => return Err(EngineError::host("remove the cgroup", folder)(error)),
        }
    }
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
        for folder in group.folders.iter().filter(|folder| folder.exists()) {
            fs::write(folder.join("cgroup.procs"), child.id().to_string()).unwrap();
        }
        assert!(group.holds(child.id()) && !group.holds(std::process::id()));
        assert_eq!(slice.instances().unwrap(), BTreeSet::from([id.clone()]));
        // A zombie is in no group.
        group.end().unwrap();
        assert_eq!(child.wait().unwrap().code(), None);
        group.end().unwrap();
        assert!(slice.instances().unwrap().is_empty());
        slice.remove().unwrap();
    }
}
