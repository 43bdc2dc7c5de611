//! Mounts of this host, as the kernel lists them.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use rustix::{
    io::Errno,
    mount::{UnmountFlags, unmount},
};

use crate::EngineError;

pub(super) const MOUNTINFO: &str = "/proc/self/mountinfo";

/// Mount points at or below `folder`, latest first, so that they can be unmounted in this order.
pub fn below(folder: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let text = std::fs::read(MOUNTINFO).map_err(EngineError::host("read", MOUNTINFO))?;
    let mut found: Vec<PathBuf> = mount_points(&text)
        .filter(|point| point.starts_with(folder))
        .collect();
    found.reverse();
    Ok(found)
}

/// Unmounts whatever is mounted at or below `folder`.
pub fn unmount_below(folder: &Path) -> Result<(), EngineError> {
    for point in below(folder)? {
        // Detached: a process that still has the mount busy can't keep the name.
        match unmount(&point, UnmountFlags::DETACH) {
            // Somebody else was quicker: an instance that ends while all are swept.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(errno) => return Err(EngineError::host("unmount", &point)(errno.into())),
        }
    }
    Ok(())
}

/// The fifth field of each line of mountinfo (proc(5)), unescaped.
fn mount_points(mountinfo: &[u8]) -> impl Iterator<Item = PathBuf> + '_ {
    mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|field| PathBuf::from(OsStr::from_bytes(&unescape(field))))
}

/// Space, tab, newline and backslash stand as three octal digits behind a backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'\\'
            && let Some(code) = after.get(..3).and_then(octal)
        {
            plain.push(code);
            rest = &after[3..];
        } else {
            plain.push(byte);
            rest = after;
        }
    }
    plain
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mount_points_with_spaces() {
        let text = b"22 1 254:0 / / rw - ext4 /dev/vda rw\n36 22 0:31 / /a\\040b/c rw shared:1 - tmpfs tmpfs rw\n";
        let points: Vec<_> = mount_points(text).collect();
        assert_eq!(points, [PathBuf::from("/"), PathBuf::from("/a b/c")]);
    }
}
