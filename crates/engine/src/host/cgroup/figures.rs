//! Figures of a sandbox's cgroup, version 1 (one hierarchy per controller) and 2 (one for all).

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::place::Place;
use crate::{Usage, host::peak};

/// Bytes of `cgroup.procs` that are read: 1,024 processes, the most of a sandbox, and a good many more.
const MAX_LINES: usize = 64 * 1024;

const ROOT: &str = "/sys/fs/cgroup";

/// The open files of one cgroup; reading them again needs no path, and fails once the cgroup is gone.
#[derive(Debug)]
pub struct Cgroup {
    version: Version,
    memory: File,
    oom: File,
    cpu: File,
    processes: File,
    /// The most that the whole group has used, pages of files with it; kernels before 5.19 don't keep it in version 2.
    peak: Option<File>,
    /// Whether its processes show the same memory several times.
    sharers: bool,
    /// The most pages of files that a look has found in it, in bytes.
    files: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// Where the figures of one process's cgroup are.
#[derive(Debug, PartialEq, Eq)]
struct Paths {
    version: Version,
    memory: PathBuf,
    cpu: PathBuf,
}

impl Cgroup {
    /// The cgroup of a process of this host. None if it is gone or its controllers are not there.
    pub fn of_process(pid: u32) -> Option<Self> {
        let membership = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        Self::within(&membership, Path::new(ROOT))
    }

    /// As [`Self::of_process`], from the text of `/proc/PID/cgroup` and where cgroups are mounted.
    fn within(membership: &str, root: &Path) -> Option<Self> {
        Self::open(&paths(membership, root)?)
    }

    /// Those of a group of ours, by where it has its memory and its processor time.
    pub(super) fn of_places(memory: &Place, cpu: &Place) -> Option<Self> {
        Self::open(&Paths {
            version: match memory.hierarchy.unified {
                true => Version::V2,
                false => Version::V1,
            },
            memory: memory.folder.clone(),
            cpu: cpu.folder.clone(),
        })
    }

    fn open(paths: &Paths) -> Option<Self> {
        let (oom, cpu, peak) = match paths.version {
            Version::V1 => (
                "memory.oom_control",
                "cpuacct.usage",
                "memory.max_usage_in_bytes",
            ),
            Version::V2 => ("memory.events", "cpu.stat", "memory.peak"),
        };
        Some(Self {
            version: paths.version,
            memory: File::open(paths.memory.join("memory.stat")).ok()?,
            oom: File::open(paths.memory.join(oom)).ok()?,
            cpu: File::open(paths.cpu.join(cpu)).ok()?,
            processes: File::open(paths.memory.join("cgroup.procs")).ok()?,
            peak: File::open(paths.memory.join(peak)).ok(),
            sharers: false,
            files: AtomicU64::new(0),
        })
    }

    /// One whose processes show the same memory several times: it counts once.
    pub(crate) fn of_sharers(self) -> Self {
        Self {
            sharers: true,
            ..self
        }
    }

    /// The figures of this moment.
    pub fn usage(&self) -> Option<Usage> {
        let memory = read(&self.memory)?;
        let oom = read(&self.oom)?;
        let cpu = read(&self.cpu)?;
        let (own, shared) = match self.version {
            Version::V1 => ("total_rss", "total_shmem"),
            Version::V2 => ("anon", "shmem"),
        };
        let memory_bytes = field(&memory, own)? + field(&memory, shared)?;
        if self.sharers {
            self.look_at_files(&memory)?;
        }
        Some(Usage {
            memory_bytes,
            oom_kills: field(&oom, "oom_kill").unwrap_or(0),
            cpu_us: match self.version {
                Version::V1 => cpu.trim().parse::<u64>().ok()? / 1000,
                Version::V2 => field(&cpu, "usage_usec")?,
            },
        })
    }
}

impl Cgroup {
    /// The most that the processes there now have used so far, in bytes.
    pub fn peak_bytes(&self) -> Option<u64> {
        let processes = read_lines(&self.processes)?;
        Some(match self.sharers {
            // What they took together and gave back is in no process's own figure.
            true => peak::of_sharers(&processes).max(self.most_together().unwrap_or(0)),
            false => peak::of_processes(&processes),
        })
    }

    /// The most that the group has used without pages of files: of those, as many as any look has found, so that it is rather too little than too much.
    fn most_together(&self) -> Option<u64> {
        let files = self.look_at_files(&read(&self.memory)?)?;
        let most: u64 = read(self.peak.as_ref()?)?.trim().parse().ok()?;
        Some(most.saturating_sub(files))
    }

    /// The most pages of files that were found so far, now among them.
    fn look_at_files(&self, memory: &str) -> Option<u64> {
        let (all, shared) = match self.version {
            Version::V1 => ("total_cache", "total_shmem"),
            Version::V2 => ("file", "shmem"),
        };
        let now = field(memory, all)?.saturating_sub(field(memory, shared)?);
        Some(self.files.fetch_max(now, Ordering::Relaxed).max(now))
    }
}

/// Whole lines of a file that the kernel makes at each read, a page or less at a time; what is past [`MAX_LINES`] is left out.
fn read_lines(file: &File) -> Option<String> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    while bytes.len() < MAX_LINES {
        match file.read_at(&mut buffer, bytes.len() as u64).ok()? {
            0 => break,
            length => bytes.extend_from_slice(&buffer[..length]),
        }
    }
    // Half of a process's number is another process.
    let end = bytes.iter().rposition(|byte| *byte == b'\n');
    bytes.truncate(end.map_or(0, |end| end + 1));
    String::from_utf8(bytes).ok()
}

/// Whole content of a file that the kernel makes at each read in one piece; these stay below 8 KiB.
fn read(file: &File) -> Option<String> {
    let mut buffer = [0; 8192];
    let length = file.read_at(&mut buffer, 0).ok()?;
    String::from_utf8(buffer[..length].to_vec()).ok()
}

/// The number behind a key in `key value` lines.
fn field(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?
        .trim()
        .parse()
        .ok()
}

/// Reads `/proc/PID/cgroup` (cgroups(7)): `id:controllers:path` lines.
fn paths(membership: &str, root: &Path) -> Option<Paths> {
    let path_of = |controller: &str| {
        membership.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            controllers
                .split(',')
                .any(|name| name == controller)
                .then(|| path.trim_start_matches('/').to_owned())
        })
    };
    if let (Some(memory), Some(cpu)) = (path_of("memory"), path_of("cpuacct")) {
        let hierarchy = |name: &str, both: &str| {
            let own = root.join(name);
            if own.is_dir() { own } else { root.join(both) }
        };
        return Some(Paths {
            version: Version::V1,
            memory: root.join("memory").join(memory),
            cpu: hierarchy("cpuacct", "cpu,cpuacct").join(cpu),
        });
    }
    let unified = root.join(path_of("")?);
    Some(Paths {
        version: Version::V2,
        memory: unified.clone(),
        cpu: unified,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_version_1() {
        let membership = "8:pids:/docker/abc\n4:memory:/docker/abc\n2:cpuacct:/docker/abc\n0::/\n";
        let found = paths(membership, Path::new("/nowhere")).unwrap();
        assert_eq!(found.version, Version::V1);
        assert_eq!(found.memory, Path::new("/nowhere/memory/docker/abc"));
    }

    #[test]
    fn finds_version_2() {
        let membership = "0::/system.slice/docker-abc.scope\n";
        let found = paths(membership, Path::new("/sys/fs/cgroup")).unwrap();
        assert_eq!(found.version, Version::V2);
        assert_eq!(
            found.cpu,
            Path::new("/sys/fs/cgroup/system.slice/docker-abc.scope")
        );
    }

    /// A tree of cgroup files: paths and contents.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    const MEMORY_V1: &str = "cache 9920512\nrss 5734400\nrss_huge 0\nshmem 9068544\nhierarchical_memory_limit 134217728\ntotal_cache 10027008\ntotal_rss 6144000\ntotal_rss_huge 0\ntotal_shmem 4096\ntotal_swap 0\n";
    const OOM_V1: &str = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n";
    /// As in the kernel's "Control Group v2", memory.stat and cpu.stat.
    const MEMORY_V2: &str = "anon 6144000\nfile 10027008\nkernel 1122304\nkernel_stack 65536\nshmem 4096\nfile_mapped 7630848\nanon_thp 0\ninactive_anon 0\n";
    const EVENTS_V2: &str = "low 0\nhigh 0\nmax 31\noom 2\noom_kill 2\noom_group_kill 0\n";
    const CPU_V2: &str = "usage_usec 1250\nuser_usec 1000\nsystem_usec 250\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n";
    const EXPECTED: Usage = Usage {
        memory_bytes: 6_148_096,
        oom_kills: 2,
        cpu_us: 1_250,
    };

    /// Recorded from a Docker daemon with the driver cgroupfs; where controllers are mounted together, and each by its own name.
    #[test]
    fn figures_of_version_1() {
        let membership = "12:pids:/docker/abc\n9:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n";
        for cpu in ["cpu,cpuacct", "cpuacct"] {
            let cpu = format!("{cpu}/docker/abc/cpuacct.usage");
            let root = tree(&[
                ("memory/docker/abc/memory.stat", MEMORY_V1),
                ("memory/docker/abc/memory.oom_control", OOM_V1),
                ("memory/docker/abc/cgroup.procs", "71\n"),
                (&cpu, "1250999\n"),
            ]);
            let cgroup = Cgroup::within(membership, root.path()).unwrap();
            assert_eq!(cgroup.usage(), Some(EXPECTED));
        }
    }

    /// The layouts of the drivers systemd and cgroupfs, and of a daemon that itself runs in a container.
    #[test]
    fn figures_of_version_2() {
        for path in [
            "system.slice/docker-abc.scope",
            "docker/abc",
            "docker/outer/docker/abc",
        ] {
            let file = |name: &str| format!("{path}/{name}");
            let root = tree(&[
                (&file("memory.stat"), MEMORY_V2),
                (&file("memory.events"), EVENTS_V2),
                (&file("cpu.stat"), CPU_V2),
                (&file("cgroup.procs"), "71\n"),
            ]);
            let cgroup = Cgroup::within(&format!("0::/{path}\n"), root.path()).unwrap();
            assert_eq!(cgroup.usage(), Some(EXPECTED));
        }
    }

    #[test]
    fn what_sharers_took_together_is_known_after_they_gave_it_back() {
        let file = |name: &str| format!("warren/i-1/{name}");
        let root = tree(&[
            (&file("memory.stat"), MEMORY_V2),
            (&file("memory.events"), EVENTS_V2),
            (&file("memory.peak"), "110000000\n"),
            (&file("cpu.stat"), CPU_V2),
            (&file("cgroup.procs"), "999999999\n"),
        ]);
        let open = || Cgroup::within("0::/warren/i-1\n", root.path()).unwrap();
        assert_eq!(open().peak_bytes(), Some(0));
        let cgroup = open().of_sharers();
        assert_eq!(cgroup.peak_bytes(), Some(110_000_000 - 10_022_912));
        // Fewer pages of files now: those of before may have been there at the peak.
        let fewer = MEMORY_V2.replace("file 10027008", "file 4096");
        fs::write(root.path().join(file("memory.stat")), fewer).unwrap();
        assert_eq!(cgroup.peak_bytes(), Some(110_000_000 - 10_022_912));
        assert_eq!(cgroup.usage().unwrap().memory_bytes, EXPECTED.memory_bytes);
    }

    /// A controller that is switched off leaves no file: none is better than a figure of another cgroup.
    #[test]
    fn without_the_memory_controller_there_are_no_figures() {
        let root = tree(&[("docker/abc/cpu.stat", CPU_V2)]);
        assert!(Cgroup::within("0::/docker/abc\n", root.path()).is_none());
        assert!(Cgroup::within("", root.path()).is_none());
    }

    #[test]
    fn lists_are_read_whole_or_up_to_a_whole_line() {
        use std::io::Write;
        let mut file = tempfile::tempfile().unwrap();
        let numbers = |count: u32| -> String { (0..count).map(|n| format!("{n}\n")).collect() };
        file.write_all(numbers(4_000).as_bytes()).unwrap();
        assert_eq!(read_lines(&file).unwrap(), numbers(4_000));
        file.write_all(b"4000").unwrap();
        assert_eq!(read_lines(&file).unwrap(), numbers(4_000));
        file.write_all(&b"\n123456"[..].repeat(20_000)).unwrap();
        let text = read_lines(&file).unwrap();
        assert!((MAX_LINES - 7..=MAX_LINES + 8_192).contains(&text.len()));
        assert!(text.ends_with("\n123456\n"));
    }

    #[test]
    fn reads_fields_by_their_whole_name() {
        let text = "rss_huge 5\nrss 7\ntotal_rss 9\n";
        assert_eq!(field(text, "rss"), Some(7));
        assert_eq!(field(text, "total_rss"), Some(9));
        assert_eq!(field(text, "shmem"), None);
    }
}
