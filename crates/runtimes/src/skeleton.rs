//! What every tree has, whatever its recipe makes: the folders that engines mount over, and the user that functions run as.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The user that functions run as, as on Lambda.
pub const RUNTIME_UID: u32 = 993;
/// Its group.
pub const RUNTIME_GID: u32 = 990;
/// Its name in `/etc/passwd`.
pub const RUNTIME_USER: &str = "sbx";

/// Folders, with their modes.
const FOLDERS: [(&str, u32); 9] = [
    ("var/task", 0o755),
    ("var/runtime", 0o755),
    ("opt", 0o755),
    ("tmp", 0o1777),
    ("run/warren", 0o755),
    ("usr/lib/warren", 0o755),
    ("proc", 0o555),
    ("sys", 0o555),
    ("dev", 0o755),
];

/// Files that engines mount over; the root file system is read-only, so they must be there.
const FILES: [(&str, u32); 4] = [
    ("usr/lib/warren/agent", 0o755),
    ("etc/resolv.conf", 0o644),
    ("etc/hosts", 0o644),
    ("etc/hostname", 0o644),
];

/// Of no use in a tree that is never upgraded in place.
const SURPLUS: [&str; 6] = [
    "var/lib/apt/lists",
    "var/cache/apt",
    "var/cache/debconf",
    "var/log",
    "usr/share/doc",
    "usr/share/man",
];

/// A tree that could not be given its standard content.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SkeletonError {
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "/{file} of the tree gives the number {number} to {name:?}; Warren needs it for {RUNTIME_USER:?}"
    )]
    Taken {
        file: &'static str,
        number: u32,
        name: String,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> SkeletonError {
    let path = path.to_path_buf();
    move |source| SkeletonError::Io { path, source }
}

/// Makes folders, files and the user. Repeatable.
pub(crate) fn lay(root: &Path) -> Result<(), SkeletonError> {
    for (name, mode) in FOLDERS {
        let path = root.join(name);
        fs::create_dir_all(&path).map_err(at(&path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(at(&path))?;
    }
    for (name, mode) in FILES {
        let path = root.join(name);
        if fs::symlink_metadata(&path).is_ok_and(|meta| !meta.is_file()) {
            fs::remove_file(&path).map_err(at(&path))?;
        }
        if !path.exists() {
            fs::write(&path, "").map_err(at(&path))?;
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(at(&path))?;
    }
    add_entry(
        root,
        "etc/passwd",
        RUNTIME_UID,
        &format!("{RUNTIME_USER}:x:{RUNTIME_UID}:{RUNTIME_GID}::/tmp:/usr/sbin/nologin"),
    )?;
    add_entry(
        root,
        "etc/group",
        RUNTIME_GID,
        &format!("{RUNTIME_USER}:x:{RUNTIME_GID}:"),
    )
}

/// Appends a line to `passwd` or `group` unless it is there.
fn add_entry(
    root: &Path,
    file: &'static str,
    number: u32,
    line: &str,
) -> Result<(), SkeletonError> {
    let path = root.join(file);
    let mut text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(at(&path)(error)),
    };
    let number_text = number.to_string();
    let holder = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number_text).then(|| name.to_owned())
    });
    match holder {
        Some(name) if name == RUNTIME_USER => return Ok(()),
        Some(name) => return Err(SkeletonError::Taken { file, number, name }),
        None => {}
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
    fs::write(&path, text).map_err(at(&path))
}

/// Empties what no function reads, and `/dev`, which every engine mounts anew. Repeatable.
pub(crate) fn prune(root: &Path) -> Result<(), SkeletonError> {
    for name in SURPLUS {
        empty(&root.join(name))?;
    }
    empty(&root.join("dev"))
}

fn empty(folder: &Path) -> Result<(), SkeletonError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(folder)(error)),
    };
    for entry in entries {
        let path = entry.map_err(at(folder))?.path();
        let folder_inside = fs::symlink_metadata(&path).map_err(at(&path))?.is_dir();
        if folder_inside {
            fs::remove_dir_all(&path).map_err(at(&path))?;
        } else {
            fs::remove_file(&path).map_err(at(&path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_files_and_the_user_are_made_once() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(
            root.path().join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/bash",
        )
        .unwrap();
        lay(root.path()).unwrap();
        lay(root.path()).unwrap();
        let passwd = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
        assert_eq!(
            passwd,
            "root:x:0:0:root:/root:/bin/bash\nsbx:x:993:990::/tmp:/usr/sbin/nologin\n"
        );
        let group = fs::read_to_string(root.path().join("etc/group")).unwrap();
        assert_eq!(group, "sbx:x:990:\n");
        let mode = |name: &str| {
            let meta = fs::metadata(root.path().join(name)).unwrap();
            meta.permissions().mode() & 0o7777
        };
        assert_eq!(mode("tmp"), 0o1777);
        assert_eq!(mode("var/task"), 0o755);
        assert_eq!(mode("usr/lib/warren/agent"), 0o755);
    }

    #[test]
    fn a_number_that_a_package_took_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/group"), "render:x:990:\n").unwrap();
        let error = lay(root.path()).unwrap_err().to_string();
        assert!(error.contains("990") && error.contains("render"), "{error}");
    }

    #[test]
    fn pruning_empties_folders_and_keeps_them() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("dev/pts")).unwrap();
        std::os::unix::fs::symlink("/proc/self/fd", root.path().join("dev/fd")).unwrap();
        prune(root.path()).unwrap();
        assert!(root.path().join("dev").is_dir());
        assert_eq!(fs::read_dir(root.path().join("dev")).unwrap().count(), 0);
    }
}
