//! What there is of networks on this machine, of servers that run and of dead ones: for whoever looks after it. Nothing is changed here.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{NetworkError, network::RUN, program::find, router::THREAD, rules::TABLES, uplink};

/// What one server has of networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    /// Its id, as far as its folder or table tells.
    pub server: String,
    /// With its namespaces.
    pub folder: Option<PathBuf>,
    /// Its table in the host's rules.
    pub table: Option<String>,
    /// Processes that are its way out.
    pub uplinks: Vec<i32>,
    /// Whether a process of it is in its namespace: it runs.
    pub runs: bool,
}

impl Traces {
    /// The commands that remove them; only right for a server that does not run.
    pub fn removal(&self) -> String {
        let mut commands = Vec::new();
        if !self.uplinks.is_empty() {
            let pids: Vec<_> = self.uplinks.iter().map(i32::to_string).collect();
            commands.push(format!("kill {}", pids.join(" ")));
        }
        if let Some(table) = &self.table {
            commands.push(format!("nft delete table inet {table}"));
        }
        if let Some(folder) = &self.folder {
            let folder = folder.display();
            commands.push(format!("umount {folder}/net {folder}/user"));
            commands.push(format!("rm -r {folder}"));
        }
        commands.join("; ")
    }
}

/// All of them, by id. Needs root; blocking, some ten milliseconds.
///
/// # Errors
/// [`NetworkError::Program`] if `nft` is not there or may not list the host's tables.
pub fn survey() -> Result<Vec<Traces>, NetworkError> {
    let mut found: Vec<Traces> = folders()?
        .into_iter()
        .map(|(server, folder)| {
            let namespace = folder.join("net");
            let uplinks = uplink::of(&namespace);
            Traces {
                server,
                runs: is_served(&namespace) || uplinks.iter().any(|pid| is_a_server_s(*pid)),
                uplinks,
                folder: Some(folder),
                table: None,
            }
        })
        .collect();
    for table in tables(&list_tables()?) {
        let server = table.trim_start_matches(TABLES);
        let own = found
            .iter_mut()
            .find(|traces| traces.server.replace('-', "_") == server);
        match own {
            Some(traces) => traces.table = Some(table),
            None => found.push(Traces {
                server: server.to_owned(),
                folder: None,
                table: Some(table),
                uplinks: Vec::new(),
                runs: false,
            }),
        }
    }
    found.sort_by(|a, b| a.server.cmp(&b.server));
    Ok(found)
}

/// Of the engines: language trees, and who has which user ids.
const OTHERS: [&str; 2] = ["trees", "ids"];

fn folders() -> Result<Vec<(String, PathBuf)>, NetworkError> {
    let entries = match fs::read_dir(RUN) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(NetworkError::host("read the folder", RUN)(error)),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry.map_err(NetworkError::host("read the folder", RUN))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !OTHERS.contains(&name.as_str()) {
            folders.push((name, entry.path()));
        }
    }
    Ok(folders)
}

fn list_tables() -> Result<String, NetworkError> {
    let failed = |output: String| NetworkError::Program {
        program: "nft list tables",
        output,
    };
    let program = find("nft").ok_or_else(|| failed("not found".to_owned()))?;
    let said = Command::new(program)
        .args(["list", "tables", "inet"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    match said.status.success() {
        true => Ok(String::from_utf8_lossy(&said.stdout).into_owned()),
        false => Err(failed(
            String::from_utf8_lossy(&said.stderr).trim().to_owned(),
        )),
    }
}

/// Ours, of what `nft list tables` printed: lines `table inet NAME`.
fn tables(listed: &str) -> Vec<String> {
    listed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("table inet "))
        .filter(|name| name.starts_with(TABLES))
        .map(str::to_owned)
        .collect()
}

/// Whether some process has a router's thread in this namespace.
fn is_served(namespace: &Path) -> bool {
    let identity = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        Some((found.dev(), found.ino()))
    };
    let Some(wanted) = identity(namespace) else {
        return false;
    };
    within(Path::new("/proc"))
        .iter()
        .flat_map(|process| routers(process))
        .any(|thread| identity(&thread.join("ns/net")) == Some(wanted))
}

/// Whether a process that has a router started this uplink: a server with mounts of its own, whose namespace is not to be seen from here. One whose server
/// is dead has another parent.
fn is_a_server_s(uplink: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{uplink}/status")).unwrap_or_default();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.is_some_and(|pid| !routers(&Path::new("/proc").join(pid.trim())).is_empty())
}

/// The threads of a process, as a folder of `/proc`, that are a router's.
fn routers(process: &Path) -> Vec<PathBuf> {
    let mut threads = within(&process.join("task"));
    threads.retain(|thread| {
        fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim() == THREAD)
    });
    threads
}

/// What is in a folder; nothing if it is gone, as processes go.
fn within(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_tables_are_ours() {
        let listed = "table inet filter\ntable inet warren_0a1b\ntable inet warrenty\n";
        assert_eq!(tables(listed), ["warren_0a1b"]);
    }

    #[test]
    fn folders_of_the_engines_are_no_routers() {
        let found = folders().unwrap();
        assert!(
            found
                .iter()
                .all(|(name, _)| !OTHERS.contains(&name.as_str()))
        );
    }

    #[test]
    fn a_namespace_that_nobody_serves_is_dead() {
        assert!(!is_served(Path::new("/proc/self/ns/net")));
        assert!(!is_served(Path::new("/no/such/file")));
        assert!(!is_a_server_s(1));
    }

    #[test]
    fn removal_names_what_there_is_and_no_more() {
        let mut traces = Traces {
            server: "a".to_owned(),
            folder: Some("/run/warren/a".into()),
            table: Some("warren_a".to_owned()),
            uplinks: vec![7],
            runs: false,
        };
        assert_eq!(
            traces.removal(),
            "kill 7; nft delete table inet warren_a; umount /run/warren/a/net /run/warren/a/user; rm -r /run/warren/a"
        );
        traces.folder = None;
        traces.uplinks.clear();
        assert_eq!(traces.removal(), "nft delete table inet warren_a");
    }
}
