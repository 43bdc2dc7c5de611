//! Removal of what an earlier run of the same server left.

use std::{collections::HashSet, fs, os::unix::ffi::OsStrExt, path::Path};

use rustix::process::{Pid, Signal, kill_process};
use warren_model::InstanceId;

use super::launch::STATE;
use crate::{EngineError, host::cgroup::Slice};

/// Ends programs that an earlier run had started and that still start sandboxes: those with the state folder of an instance of ours on their command line.
pub(super) fn launchers(run: &Path, keep: &HashSet<InstanceId>) -> Result<(), EngineError> {
    let processes = fs::read_dir("/proc").map_err(EngineError::host("read", "/proc"))?;
    for process in processes.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // It may have ended.
        let Ok(command) = fs::read(process.path().join("cmdline")) else {
            continue;
        };
        let Some(instance) = starts(&command, run) else {
            continue;
        };
        if !keep.contains(&instance)
            && let Some(pid) = Pid::from_raw(pid)
        {
            match kill_process(pid, Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(errno) => return Err(EngineError::host("end the start of", run)(errno.into())),
            }
        }
    }
    Ok(())
}

/// The instance of ours that a command line starts.
fn starts(command: &[u8], run: &Path) -> Option<InstanceId> {
    let arguments: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
    let place = arguments
        .windows(2)
        .find_map(|pair| (pair[0] == b"--root").then_some(pair[1]))?;
    let place = Path::new(std::ffi::OsStr::from_bytes(place));
    let folder = place
        .parent()
        .filter(|folder| folder.parent() == Some(run))?;
    (place.file_name()? == STATE)
        .then(|| InstanceId::new(folder.file_name().unwrap_or_default().to_string_lossy()))
}

/// Ends the groups of instances that are not kept; answers how many.
pub(super) fn groups(slice: &Slice, keep: &HashSet<InstanceId>) -> Result<usize, EngineError> {
    let mut removed = 0;
    for instance in slice.instances()? {
        if !keep.contains(&instance) {
            slice.group(&instance).end()?;
            removed += 1;
        }
    }
    if keep.is_empty() {
        slice.remove()?;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_starts_of_our_instances_are_ours() {
        let run = Path::new("/data/run");
        let of = |text: &str| starts(text.replace(' ', "\0").as_bytes(), run);
        let ours = "runc --root /data/run/i-1/state --log x run i-1";
        assert_eq!(of(ours), Some(InstanceId::new("i-1")));
        for other in [
            "runc --root /data/run/state run i-1",
            "runc --root /other/run/i-1/state run i-1",
            "runc --root /data/run/i-1/other run i-1",
            "runc run i-1",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
