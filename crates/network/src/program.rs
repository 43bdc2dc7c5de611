//! Programs of the host.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::NetworkError;

/// The programs that a network needs, and the Debian package of each.
pub const PROGRAMS: [(&str, &str); 4] = [
    ("nft", "nftables"),
    ("pasta", "passt"),
    ("setpriv", "util-linux"),
    ("unshare", "util-linux"),
];

/// Where the uplink's tap comes from.
pub const TUN: &str = "/dev/net/tun";

/// What of the above this machine lacks, in words; empty if nothing. Looks at files only.
pub fn missing() -> Vec<String> {
    let mut missing: Vec<_> = PROGRAMS
        .iter()
        .filter(|(name, _)| find(name).is_none())
        .map(|(name, package)| format!("the program {name} (Debian package {package})"))
        .collect();
    if !Path::new(TUN).exists() {
        missing.push(format!("the device {TUN} (kernel module tun)"));
    }
    missing
}

/// On the path, or in the folders of the administrator's programs.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// Whether the network namespace of the calling thread has this table, with a rule in it. Blocking, some milliseconds.
pub(crate) fn has_table(name: &str) -> bool {
    let Some(program) = find("nft") else {
        return false;
    };
    Command::new(program)
        .args(["list", "table", "inet", name])
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|said| {
            said.status.success() && said.stdout.windows(5).any(|word| word == b"skuid")
        })
}

/// What `nft` says of a set of the router's table, in JSON. Blocking, some milliseconds.
pub(crate) fn listed(set: &str) -> Result<Vec<u8>, NetworkError> {
    let failed = |output: String| NetworkError::Program {
        program: "nft",
        output,
    };
    let program = find("nft").ok_or_else(|| failed("not found".to_owned()))?;
    let said = Command::new(program)
        .args(["-j", "list", "set", "inet", "warren", set])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(format!("could not be run: {error}")))?;
    match said.status.success() {
        true => Ok(said.stdout),
        false => Err(failed(
            String::from_utf8_lossy(&said.stderr).trim().to_owned(),
        )),
    }
}

/// Has `nft` read a rule file (nothing, if it is empty), all of it or nothing, in the network namespace of the calling thread. Blocking, some milliseconds.
pub(crate) fn nft(rules: &str) -> Result<(), NetworkError> {
    if rules.is_empty() {
        return Ok(());
    }
    let failed = |output: String| NetworkError::Program {
        program: "nft",
        output,
    };
    let not_run = |error: std::io::Error| failed(format!("could not be run: {error}"));
    let program = find("nft").ok_or_else(|| failed("not found".to_owned()))?;
    let mut child = Command::new(program)
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(not_run)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(rules.as_bytes()).map_err(not_run)?;
    }
    let output = child.wait_with_output().map_err(not_run)?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )),
    }
}
