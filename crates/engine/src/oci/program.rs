//! The runtime's program on this host.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{process::Command, time::timeout};

use crate::Unavailable;

/// Searched after `PATH`, which services often have without the folders of administrators.
const FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];
/// How long it may take to say its version.
const PATIENCE: Duration = Duration::from_secs(10);

/// A program that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program(PathBuf);

impl Program {
    /// The first of these names on `PATH` or among the folders of administrators.
    pub(crate) fn find(names: &[&str]) -> Result<Self, Unavailable> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&path)
            .chain(FOLDERS.map(PathBuf::from))
            .collect();
        let at = |name: &&str| {
            folders
                .iter()
                .map(|folder| folder.join(name))
                .find(|file| file.is_file())
        };
        names
            .iter()
            .find_map(at)
            .map(Self)
            .ok_or_else(|| Unavailable {
                reason: format!(
                    "There is no program `{}` on this machine",
                    names.join("` or `")
                ),
                next_step: "Run `make setup`, or install it and have it in the PATH of the server"
                    .to_owned(),
            })
    }

    /// This file.
    pub(crate) fn at(file: PathBuf) -> Self {
        Self(file)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// What it says of its version, in one line.
    pub(crate) async fn version(&self) -> Result<String, Unavailable> {
        let name = self.0.display();
        let failed = |what: String| Unavailable {
            reason: format!("`{name} --version` {what}"),
            next_step:
                "Install a working one, and have it in the PATH of the server before this one"
                    .to_owned(),
        };
        let asked = Command::new(&self.0)
            .arg("--version")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let said = timeout(PATIENCE, asked)
            .await
            .map_err(|_| failed(format!("takes longer than {PATIENCE:?}")))?
            .map_err(|error| failed(format!("can't be started: {error}")))?;
        if !said.status.success() {
            return Err(failed(format!("fails: {}", said.status)));
        }
        let text = String::from_utf8_lossy(&said.stdout);
        let line = text.lines().next().unwrap_or_default();
        Ok(line.trim().to_owned())
    }
}
