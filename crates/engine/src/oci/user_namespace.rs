//! A user namespace that the sandbox's own user makes. What the kernel counts by user inside (inotify instances and watches, and all else of
//! `/proc/sys/user`) it counts against the namespace's maker as well: made by root, all sandboxes would have one quota in common, the host's own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

use super::{Program, entry::PATH};
use crate::{EngineError, Unavailable, host::ids::RANGE};

/// Programs that making one takes.
const PROGRAMS: [&str; 4] = ["setpriv", "unshare", "cat", "prlimit"];

/// One that lasts as long as this, and as whoever joins it.
pub(super) struct UserNamespace {
    first_id: u32,
    /// Echoes what it is told, once it is in the namespace; ends with its input, and so with this process.
    holder: Child,
    /// The holder's folder in `/proc`.
    process: PathBuf,
    path: PathBuf,
}

impl UserNamespace {
    /// Whether this host has what making one takes.
    pub(super) fn probe() -> Result<(), Unavailable> {
        PROGRAMS
            .iter()
            .try_for_each(|name| Program::find(&[name]).map(drop))
    }

    /// Begins to make one whose user 0 has this id on the host.
    pub(super) fn begin(first_id: u32) -> Result<Self, EngineError> {
        let id = first_id.to_string();
        let holder = Command::new("setpriv")
            .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
            // Some hosts let nobody else make one; it is lost on the way in.
            .args(["--inh-caps=+sys_admin", "--ambient-caps=+sys_admin"])
            .args(["unshare", "--user", "cat"])
            .env_clear()
            .env("PATH", PATH)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(EngineError::host("run", "setpriv"))?;
        // None only for one that was waited for.
        let pid = holder.id().unwrap_or_default();
        let process = Path::new("/proc").join(pid.to_string());
        Ok(Self {
            first_id,
            holder,
            path: process.join("ns/user"),
            process,
        })
    }

    /// Where it is joined, once it is [ready](Self::ready).
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until it is there, and gives it its users. Some five milliseconds after the beginning.
    pub(super) async fn ready(&mut self) -> Result<(), EngineError> {
        let (Some(input), Some(output)) = (&mut self.holder.stdin, &mut self.holder.stdout) else {
            return Ok(());
        };
        let told = input.write_all(b"?").await;
        let answered = output.read_exact(&mut [0]).await;
        if told.is_err() || answered.is_err() {
            return Err(self.words().await);
        }
        for map in ["uid_map", "gid_map"] {
            let file = self.process.join(map);
            let line = format!("0 {} {RANGE}\n", self.first_id);
            fs::write(&file, line).map_err(EngineError::host("write", &file))?;
        }
        Ok(())
    }

    /// Why it did not come up.
    async fn words(&mut self) -> EngineError {
        let mut said = String::new();
        if let Some(mut errors) = self.holder.stderr.take() {
            // What can't be read says nothing.
            let _ = errors.read_to_string(&mut said).await;
        }
        EngineError::Program {
            program: "setpriv ... unshare --user".to_owned(),
            output: said.trim().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[tokio::test]
    async fn it_is_its_own_user_s() {
        if !rustix::process::geteuid().is_root() || !super::super::user_namespaces() {
            println!("SKIPPED: needs root and user namespaces");
            return;
        }
        UserNamespace::probe().unwrap();
        let first_id = 0x7fff_0000;
        let mut namespace = UserNamespace::begin(first_id).unwrap();
        namespace.ready().await.unwrap();
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        assert_ne!(
            inode(namespace.path()),
            inode(Path::new("/proc/self/ns/user"))
        );
        let read = |name: &str| fs::read_to_string(namespace.process.join(name)).unwrap();
        let map = read("uid_map");
        let map: Vec<&str> = map.split_whitespace().collect();
        assert_eq!(map, ["0", "2147418112", "65536"]);
        assert!(read("status").contains("Uid:\t2147418112\t"));
    }

    #[tokio::test]
    async fn one_that_can_t_be_made_says_why() {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: needs root");
            return;
        }
        // An id that is none, which the program or the kernel refuses.
        let mut namespace = UserNamespace::begin(u32::MAX).unwrap();
        let error = namespace.ready().await.unwrap_err().to_string();
        assert!(
            error.contains("setpriv") || error.contains("uid_map"),
            "{error}"
        );
    }
}
