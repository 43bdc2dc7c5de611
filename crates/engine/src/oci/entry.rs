//! The way in for a program that must find its sandbox's ground ready: it is started as the sandbox's own user 0, in the sandbox's group, with a network
//! namespace that has its link by then, and sees of the host's closed folders only what the sandbox needs.
//!
//! ```text
//! sh (the host's root) ─► group ─► own mounts, the view ─► user and network namespace ─► ready
//!                                     the host: user ids, link ─► go
//!                         ─► user 0 of the namespace ─► /proc as the sandbox may know it ─► the program
//! ```
//!
//! One process all the way, so one id; it ends with its group, whatever it is doing.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

use super::{Program, other};
use crate::{
    EngineError, Unavailable,
    host::{cgroup::Group, ids::RANGE},
};

/// Programs that the way in takes.
const PROGRAMS: [&str; 4] = ["sh", "mount", "unshare", "setpriv"];
/// Where they are.
pub(super) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// A file in the folder of the instance: what `/proc/meminfo` is to the program.
const MEMINFO: &str = "meminfo";

/// Joins the groups, first of all: from then on an end of the group is its end. The mark `--root STATE` is what a restart knows it by until then.
const JOIN: &str = r#"set -eu
shift 2
while [ "$1" != : ]; do echo 0 >"$1/cgroup.procs"; shift; done
shift
stage=$1
exec unshare --mount --propagation slave sh -c "$stage" "$0" "$@""#;

/// Shows under numbers what the sandbox needs, on a path that every user may pass.
const SHOW: &str = r#"set -eu
stage=$2 view=$3
shift 3
mount -t tmpfs -o nosuid,nodev,mode=0755,size=64k warren "$view"
number=0
while [ "$1" != : ]; do
    if [ -d "$2" ]; then mkdir "$view/$number"; else : >"$view/$number"; fi
    mount -o "$1" "$2" "$view/$number"
    number=$((number + 1))
    shift 2
done
shift
exec unshare --user --net --mount --propagation slave --keep-caps sh -c "$stage" "$0" "$view" "$@""#;

/// Waits for its user ids and its link, and becomes user 0. Then hides what shows it the host: the whole machine's memory, and settings by which a program
/// takes the namespace for the host's (kernels that show them in every namespace).
const BECOME: &str = r#"set -eu
echo ready
read -r go
exec setpriv --reuid 0 --regid 0 --clear-groups sh -euc '
    if [ -e /proc/sys/net/core ]; then mount -t tmpfs -o ro,size=4k warren /proc/sys/net/core; fi
    mount --bind "$1/0/meminfo" /proc/meminfo
    shift
    exec "$@" </dev/null >&2
' "$0" "$@""#;

/// Options of mounts in the view. What is mounted at their sources later comes along.
const WRITABLE: &str = "rbind";
const READ_ONLY: &str = "rbind,ro,nosuid,nodev";

/// A file or folder of the host that the program sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) writable: bool,
}

impl Source {
    /// A program, to be run.
    pub(crate) fn of(program: &Program) -> Self {
        Self {
            path: program.path().to_owned(),
            writable: false,
        }
    }
}

/// What a program is let in with.
pub(crate) struct Entry<'a> {
    /// Its group.
    pub(crate) group: &'a Group,
    /// The first of its user ids on the host.
    pub(crate) first_id: u32,
    /// The instance's folder: number 0 of the view.
    pub(crate) folder: &'a Path,
    /// The program's state folder, by which an interrupted start is known.
    pub(crate) state: &'a Path,
    /// An empty folder on a path that every user may pass.
    pub(crate) view: &'a Path,
    /// What it sees there, numbered from 1 on.
    pub(crate) shown: &'a [Source],
    /// Memory of the machine as the program sees it, in bytes.
    pub(crate) memory: u64,
    /// The program and its arguments; paths are those of the view.
    pub(crate) command: &'a [OsString],
    /// Where it and the sandbox write.
    pub(crate) output: &'a File,
}

impl Entry<'_> {
    /// Whether this host has what the way in takes.
    pub(crate) fn probe() -> Result<(), Unavailable> {
        PROGRAMS
            .iter()
            .try_for_each(|name| Program::find(&[name]).map(drop))?;
        if super::user_namespaces() {
            return Ok(());
        }
        Err(Unavailable {
            reason: "This host allows no user namespaces".to_owned(),
            next_step: "Allow them: `sysctl user.max_user_namespaces=10000`".to_owned(),
        })
    }

    /// What is shown under this number, seen from inside.
    pub(crate) fn place(view: &Path, number: usize) -> PathBuf {
        view.join(number.to_string())
    }

    /// Goes in up to the namespaces; some ten milliseconds.
    pub(crate) async fn begin(&self) -> Result<Begun, EngineError> {
        let meminfo = self.folder.join(MEMINFO);
        let text = format!("MemTotal: {} kB\n", self.memory / 1024);
        fs::write(&meminfo, text).map_err(EngineError::host("write", &meminfo))?;
        fs::create_dir_all(self.view).map_err(EngineError::host("create the folder", self.view))?;
        let output = self
            .output
            .try_clone()
            .map_err(EngineError::host("share", self.folder))?;
        let end = OsStr::new(":");
        let shown = self.shown.iter().flat_map(|source| {
            let access = if source.writable { WRITABLE } else { READ_ONLY };
            [OsStr::new(access), source.path.as_os_str()]
        });
        let mut command = Command::new("sh");
        command
            .args(["-c", JOIN, "warren-entry", "--root"])
            .arg(self.state)
            .args(self.group.folders())
            .args([end, OsStr::new(SHOW), OsStr::new(BECOME)])
            .arg(self.view)
            .args([OsStr::new(WRITABLE), self.folder.as_os_str()])
            .args(shown)
            .arg(end)
            .args(self.command)
            .env_clear()
            .env("PATH", PATH)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(output)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(EngineError::host("run", "sh"))?;
        let mut word = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            // Closed by the program when it starts, or by an end before it.
            let mut line = [0; 6];
            let read = stdout.read_exact(&mut line).await;
            if read.is_ok() {
                word = String::from_utf8_lossy(&line).into_owned();
            }
        }
        let pid = child.id().filter(|_| word == "ready\n");
        let Some(pid) = pid else {
            let status = child.wait().await;
            let status = status.map_err(EngineError::host("wait for", "sh"))?;
            return Err(EngineError::Program {
                program: "the way into a sandbox".to_owned(),
                output: format!("{} ({status})", super::launch::words(self.folder)),
            });
        };
        for map in ["uid_map", "gid_map"] {
            let file = Path::new("/proc").join(pid.to_string()).join(map);
            let line = format!("0 {} {RANGE}\n", self.first_id);
            fs::write(&file, line).map_err(EngineError::host("write", &file))?;
        }
        Ok(Begun { child, pid })
    }
}

/// A process in its namespaces that waits for the word.
pub(crate) struct Begun {
    child: Child,
    pid: u32,
}

impl Begun {
    /// As the host numbers it.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets the program start, and waits for its end.
    pub(crate) async fn go(mut self) -> Result<ExitStatus, EngineError> {
        if let Some(mut stdin) = self.child.stdin.take() {
            // One that has ended says so by its status.
            if let Err(error) = stdin.write_all(b"go\n").await {
                tracing::debug!(%error, "the way into a sandbox ended early");
            }
        }
        self.child
            .wait()
            .await
            .map_err(|error| EngineError::host("wait for", "sh")(other(error)))
    }
}
