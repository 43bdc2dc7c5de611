//! The one way out: `pasta`, a process that speaks for the router from the host's network, under a uid of its own and without any right on the host.

use std::{
    fs, io,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Access, Mode, OFlags, access, open},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tokio::process::{Child, Command};

use crate::{
    NetworkError,
    address::{UPLINK_GATEWAY_V4, UPLINK_GATEWAY_V6, UPLINK_V4, UPLINK_V6},
    program::{TUN, find},
};

/// Who the uplink is on the host: nobody else. Of a range that neither Debian nor systemd gives away.
pub(crate) const UID: u32 = 61_001;
/// Its interface in the router.
pub(crate) const LINK: &str = "up0";
/// How long a killed uplink may take to be gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lets go of root and becomes the uplink. Where the tap device is root's own, the process sees one that is everybody's, in a mount namespace that it
/// shares with nobody.
const START: &str = r#"
uid=$1; own_device=$2; shift 2
if [ "$own_device" = yes ]; then
    mount -t tmpfs -o mode=0755,size=64k,nr_inodes=8 warren /dev/net
    mknod -m 0666 /dev/net/tun c 10 200
fi
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups --no-new-privs "$@"
"#;

/// Starts it for the router whose namespaces are in `folder`. It needs some 50 ms before it carries anything.
pub(crate) fn start(folder: &Path) -> Result<Child, NetworkError> {
    let failed = |output: String| NetworkError::Program {
        program: "pasta",
        output,
    };
    let pasta = find("pasta").ok_or_else(|| failed("not found".to_owned()))?;
    let unshare = find("unshare").ok_or_else(|| failed("unshare is not there".to_owned()))?;
    let own_device = if for_everybody(TUN) { "no" } else { "yes" };
    Command::new(unshare)
        .args(["--mount", "sh", "-euc", START, "sh", &UID.to_string()])
        .arg(own_device)
        .arg(pasta)
        .args(["--foreground", "--quiet", "--config-net", "--no-netns-quit"])
        .arg("--userns")
        .arg(folder.join("user"))
        .arg("--netns")
        .arg(folder.join("net"))
        .args(["--ns-ifname", LINK])
        .args(["--address", UPLINK_V4, "--netmask", "30"])
        .args(["--gateway", UPLINK_GATEWAY_V4])
        .args(["--address", UPLINK_V6, "--gateway", UPLINK_GATEWAY_V6])
        // Nothing of the host under the gateway's name, nobody listens, nobody is configured.
        .args(["--no-map-gw", "--no-dhcp", "--no-dhcpv6", "--no-ra"])
        .args(["-t", "none", "-u", "none", "-T", "none", "-U", "none"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("could not be started: {error}")))
}

/// Whether a device may be opened by all.
fn for_everybody(path: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o006 == 0o006)
}

/// Whether the tap device answers: a node may be there without its driver.
pub(crate) fn tap_works() -> io::Result<()> {
    access(TUN, Access::EXISTS)?;
    open(TUN, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    Ok(())
}

/// Whether it has laid its route, in the namespace of the calling thread.
pub(crate) fn is_up() -> bool {
    fs::read_to_string("/proc/thread-self/net/route").is_ok_and(|routes| {
        routes
            .lines()
            .any(|line| line.starts_with(LINK) && line.split('\t').nth(1) == Some("00000000"))
    })
}

/// Ends uplinks that an earlier run with this folder left. Blocking, some milliseconds.
pub(crate) fn reap(folder: &Path) -> Result<usize, NetworkError> {
    let namespace = folder.join("net");
    let mut ended = 0;
    for pid in of(&namespace) {
        let Some(Ok(process)) = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty()))
        else {
            continue;
        };
        // The number may have changed hands before the process was held.
        if is_uplink(pid, &namespace) {
            let _ = pidfd_send_signal(&process, Signal::KILL);
            let deadline = Instant::now() + PATIENCE;
            while is_uplink(pid, &namespace) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            ended += 1;
        }
    }
    Ok(ended)
}

/// The uplinks of this namespace.
pub(crate) fn of(namespace: &Path) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| is_uplink(*pid, namespace))
        .collect()
}

/// A process under the uplink's uid that was told of this namespace.
fn is_uplink(pid: i32, namespace: &Path) -> bool {
    let Ok(arguments) = fs::read(format!("/proc/{pid}/cmdline")) else {
        return false;
    };
    let namespace = namespace.as_os_str().as_encoded_bytes();
    if !arguments
        .split(|byte| *byte == 0)
        .any(|word| word == namespace)
    {
        return false;
    }
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| {
        let mut uids = status
            .lines()
            .filter_map(|line| line.strip_prefix("Uid:"))
            .flat_map(str::split_whitespace);
        uids.next() == Some(UID.to_string().as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_no_uplink() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(!is_uplink(pid, Path::new("/run/warren/x/net")));
        assert_eq!(reap(Path::new("/run/warren-no-such-folder")).unwrap(), 0);
    }
}
