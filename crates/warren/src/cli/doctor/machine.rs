//! What `warren serve` needs of the machine that it runs on.

use std::{
    env,
    path::{Path, PathBuf},
};

use rustix::{fs::statvfs, process::geteuid};
use warren_runtimes::Trees;

use super::{Check, Verdict};

/// Free space below which a first deploy may fail: the largest tree, its downloads and the engine's copy of it.
const LOW_SPACE: u64 = 2 << 30;

/// Where the kernel gives out loop devices.
const LOOP_CONTROL: &str = "/dev/loop-control";

/// A program, the Debian package that has it, and what it is for.
const PROGRAMS: [(&str, &str, &str); 8] = [
    ("mkfs.ext4", "e2fsprogs", "the /tmp disks of instances"),
    ("mount", "mount", "the /tmp disks of instances"),
    ("tar", "tar", "root file systems"),
    ("bash", "bash", "root file systems"),
    ("chroot", "coreutils", "root file systems"),
    ("mmdebstrap", "mmdebstrap", "root file systems"),
    ("npm", "npm", "the root file systems of Node.js"),
    ("pip", "python3-pip", "the root file systems of Python"),
];

pub(super) async fn checks(data_dir: &Path) -> Vec<Check> {
    let mut checks = vec![
        root(),
        docker().await,
        loop_devices(Path::new(LOOP_CONTROL)),
    ];
    checks.extend(PROGRAMS.map(|(name, package, purpose)| program(name, package, purpose)));
    checks.push(space("data folder", data_dir));
    checks.extend(not_executable(data_dir));
    checks.extend(Trees::default_folder().map(|folder| space("cache folder", &folder)));
    checks
}

fn root() -> Check {
    match geteuid().is_root() {
        true => Check::ok("root", "this is root"),
        // This command need not be; the server must.
        false => Check::bad(
            "root",
            Verdict::Warning,
            "this is not root, which `warren serve` must be for mounts and root file systems",
            "start the server with sudo",
        ),
    }
}

async fn docker() -> Check {
    match warren_engine::docker::probe().await {
        Ok(capabilities) => Check::ok("docker daemon", capabilities.detail),
        Err(unavailable) => Check::bad(
            "docker daemon",
            // What root may talk to is not for everybody to see; the server is root.
            match geteuid().is_root() {
                true => Verdict::Missing,
                false => Verdict::Warning,
            },
            unavailable.reason,
            unavailable.next_step,
        ),
    }
}

/// The `/tmp` disks of instances are mounted from them. The module is loaded at first use, if the file is there.
fn loop_devices(control: &Path) -> Check {
    match control.exists() {
        true => Check::ok("loop devices", control.display().to_string()),
        false => Check::bad(
            "loop devices",
            Verdict::Missing,
            format!(
                "there is no {}; they make the /tmp disks of instances",
                control.display()
            ),
            "load the module (modprobe loop); in a container, give it the device and the right to mount",
        ),
    }
}

fn program(name: &str, package: &str, purpose: &str) -> Check {
    let names: &[&str] = match name {
        // Either will do.
        "pip" => &["pip", "pip3"],
        _ => &[name],
    };
    match names.iter().find_map(|name| find(name)) {
        Some(path) => Check::ok(name, path.display().to_string()),
        None => Check::bad(
            name,
            Verdict::Missing,
            format!("not found; it makes {purpose}"),
            format!("run `make setup`, or install it (Debian: apt-get install {package})"),
        ),
    }
}

/// Where a program is: on the path, or in the folders of the administrator's programs.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// The folder itself, or the one that it will be made in: its file system is looked at.
fn existing(folder: &Path) -> &Path {
    let existing = folder.ancestors().find(|folder| folder.exists());
    // A relative folder that is not there yet is made here.
    existing
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn space(part: &str, folder: &Path) -> Check {
    match statvfs(existing(folder)) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let found = format!("{}: {} MB free", folder.display(), free >> 20);
            match free >= LOW_SPACE {
                true => Check::ok(part, found),
                false => Check::bad(
                    part,
                    Verdict::Warning,
                    found,
                    format!("make room: a language needs up to {} MB", LOW_SPACE >> 20),
                ),
            }
        }
        Err(error) => Check::bad(
            part,
            Verdict::Missing,
            format!("{}: {error}", folder.display()),
            "choose another folder",
        ),
    }
}

/// The agent and the functions' own programs are run from the data folder.
fn not_executable(data_dir: &Path) -> Option<Check> {
    // Whether it can be looked at at all is said with its space.
    let runs = crate::serve::runs_programs(existing(data_dir)).unwrap_or(true);
    (!runs).then(|| {
        Check::bad(
            "programs in the data folder",
            Verdict::Missing,
            format!(
                "{} is on a file system that is mounted noexec",
                data_dir.display()
            ),
            "choose a folder on another file system (--data-dir), or mount this one with exec",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_its_package() {
        let check = program("no-such-program", "some-package", "nothing");
        assert_eq!(check.verdict, Verdict::Missing);
        assert!(
            check
                .next_step
                .unwrap()
                .contains("apt-get install some-package")
        );
        assert_eq!(program("sh", "dash", "scripts").verdict, Verdict::Ok);
    }

    #[test]
    fn space_of_a_folder_that_is_not_there_is_that_of_its_parent() {
        let check = space("data folder", Path::new("/no/such/folder"));
        assert_ne!(check.verdict, Verdict::Missing, "{}", check.found);
        assert!(check.found.starts_with("/no/such/folder: "));
        assert_ne!(space("x", Path::new("not/here")).verdict, Verdict::Missing);
    }
}
