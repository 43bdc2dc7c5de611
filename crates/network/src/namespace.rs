//! The router's namespaces, kept by files in a folder below `/run`.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read},
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::{
    mount::{UnmountFlags, mount_bind, unmount},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::{NetworkError, program::find, uplink::UID};

/// Files that hold the namespaces, as `/proc/PID/ns` names them.
const KINDS: [&str; 2] = ["net", "user"];

/// Makes a network namespace that belongs to a user namespace of the uplink's uid, and binds both to `folder/net` and `folder/user`. Blocking.
pub(crate) fn create(folder: &Path) -> Result<(), NetworkError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(folder)
        .map_err(NetworkError::host("create the folder", folder))?;
    let failed = |output: String| NetworkError::Program {
        program: "unshare",
        output,
    };
    let uid = UID.to_string();
    let setpriv = find("setpriv").ok_or_else(|| failed("setpriv is not there".to_owned()))?;
    // Says when the namespaces are there, and holds them until they are bound.
    let mut holder = Command::new(setpriv)
        .args(["--reuid", &uid, "--regid", &uid, "--clear-groups"])
        .args(["unshare", "--user", "--net", "sh", "-c", "echo; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let made = holder
        .stdout
        .as_mut()
        .is_some_and(|output| output.read_exact(&mut [0]).is_ok());
    let bound = match made {
        true => KINDS.iter().try_for_each(|kind| {
            let target = folder.join(kind);
            File::create(&target).map_err(NetworkError::host("create", &target))?;
            mount_bind(format!("/proc/{}/ns/{kind}", holder.id()), &target)
                .map_err(|errno| NetworkError::host("bind a namespace to", &target)(errno.into()))
        }),
        false => Ok(()),
    };
    // Its input ends, and so does it.
    let ended = holder
        .wait_with_output()
        .map_err(|error| failed(error.to_string()))?;
    if !made {
        return Err(failed(
            String::from_utf8_lossy(&ended.stderr).trim().to_owned(),
        ));
    }
    bound
}

/// Removes the files; the namespaces end with their last user. Nothing there is success.
pub(crate) fn remove(folder: &Path) -> Result<(), NetworkError> {
    for kind in KINDS {
        let target = folder.join(kind);
        // A crash between two starts may have left several, one over the other.
        while unmount(&target, UnmountFlags::DETACH).is_ok() {}
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(NetworkError::host("remove the folder", folder)(error))
        }
        _ => Ok(()),
    }
}

/// Moves the calling thread into a network namespace.
pub(crate) fn enter(namespace: &File) -> Result<(), NetworkError> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).map_err(
        |errno| NetworkError::Kernel {
            step: "enter a network namespace",
            source: errno.into(),
        },
    )
}

/// The network namespace of a sandbox's process; never that of this one.
pub(crate) fn of_process(pid: u32) -> Result<File, NetworkError> {
    let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
    let open = |path: &Path| File::open(path).map_err(NetworkError::host("open", path));
    let inode = |file: &File| file.metadata().map(|found| (found.dev(), found.ino()));
    let (theirs, ours) = (open(&path)?, open(Path::new("/proc/self/ns/net"))?);
    match (inode(&theirs), inode(&ours)) {
        (Ok(theirs_is), Ok(ours_is)) if theirs_is != ours_is => Ok(theirs),
        _ => Err(NetworkError::NotASandbox(pid)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_s_own_namespace_is_no_sandbox() {
        let error = of_process(std::process::id()).unwrap_err();
        assert!(matches!(error, NetworkError::NotASandbox(_)), "{error}");
    }

    #[test]
    fn nothing_there_is_removed_already() {
        remove(Path::new("/run/warren-no-such-folder")).unwrap();
    }
}
