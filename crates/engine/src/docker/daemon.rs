//! Whether a daemon can run sandboxes here: one that answers, and that sees this host's files and users as Warren does.

use std::{io, time::Duration};

use bollard::{
    Docker,
    errors::Error,
    models::{SystemInfo, SystemVersion},
};
use rustix::system::uname;
use warren_model::causes;

use crate::{Capabilities, Unavailable};

/// A daemon that says nothing for this long counts as away.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a daemon says of itself that serves Docker's API in podman.
const PODMAN: &str = "Podman Engine";

/// What the daemon of `DOCKER_HOST`, or of the default socket, offers; or why it can't be used and the next step. Needs no server and no rights but those of the socket.
pub async fn probe() -> Result<Capabilities, Unavailable> {
    examine(&Docker::connect_with_defaults().map_err(silent)?).await
}

/// As [`probe`], of a daemon that was found already.
pub(super) async fn examine(docker: &Docker) -> Result<Capabilities, Unavailable> {
    let asked = async { tokio::try_join!(docker.info(), docker.version()) };
    let (info, version) = tokio::time::timeout(PATIENCE, asked)
        .await
        .map_err(|_| Unavailable {
            reason: format!("The Docker daemon does not answer within {PATIENCE:?}"),
            next_step: "Look at its log (`journalctl -u docker`), and start it again".to_owned(),
        })?
        .map_err(silent)?;
    let host = uname();
    let here = Host {
        name: &host.nodename().to_string_lossy(),
        kernel: &host.release().to_string_lossy(),
    };
    fits(&info, &here)?;
    Ok(Capabilities {
        detail: format!(
            "{} {}, {}, cgroup v{}",
            product(&version),
            info.server_version.unwrap_or_default(),
            info.default_runtime.unwrap_or_default(),
            info.cgroup_version
                .map_or_else(|| "1".to_owned(), |version| version.to_string()),
        ),
    })
}

/// This host, as its own kernel names it.
struct Host<'a> {
    name: &'a str,
    kernel: &'a str,
}

fn product(version: &SystemVersion) -> &'static str {
    let podman = version
        .components
        .iter()
        .flatten()
        .any(|component| component.name == PODMAN);
    if podman { "Podman" } else { "Docker" }
}

/// A daemon that could not be asked.
pub(super) fn silent(error: Error) -> Unavailable {
    let cause = cause(&error);
    let next_step = match cause.map(io::Error::kind) {
        Some(io::ErrorKind::PermissionDenied) => {
            "Run this as root, or as a user of the group `docker`"
        }
        _ => "Run `make setup`, start the daemon, or set DOCKER_HOST",
    };
    let words = cause.map_or_else(|| error.to_string(), io::Error::to_string);
    Unavailable {
        reason: format!("No Docker daemon answers ({words})"),
        next_step: next_step.to_owned(),
    }
}

/// What the system said, below what the client's layers made of it.
fn cause(error: &Error) -> Option<&io::Error> {
    if let Error::IOError { err } = error {
        return Some(err);
    }
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Sandboxes are made of this host's folders, mounts and user ids: a daemon that sees others can't make them.
fn fits(info: &SystemInfo, here: &Host<'_>) -> Result<(), Unavailable> {
    let refuse = |reason: String, next_step: &str| {
        Err(Unavailable {
            reason,
            next_step: next_step.to_owned(),
        })
    };
    let option = |name: &str| {
        let options = info.security_options.iter().flatten();
        let mut names = options.flat_map(|option| option.split(','));
        names.any(|part| part.strip_prefix("name=") == Some(name))
    };
    if info.os_type.as_deref().is_some_and(|os| os != "linux") {
        return refuse(
            "The Docker daemon runs other than Linux containers".to_owned(),
            "Set DOCKER_HOST to a daemon of this host that runs Linux containers",
        );
    }
    if option("rootless") {
        return refuse(
            "The Docker daemon is rootless: the disks and channels of instances, which are mounts of root, can't be seen by it".to_owned(),
            "Set DOCKER_HOST to a daemon of root, such as unix:///var/run/docker.sock",
        );
    }
    if option("userns") {
        return refuse(
            "The Docker daemon maps container users to others (userns-remap), and the files of instances are not theirs".to_owned(),
            "Set DOCKER_HOST to a daemon without userns-remap",
        );
    }
    let (name, kernel) = (
        info.name.as_deref().unwrap_or_default(),
        info.kernel_version.as_deref().unwrap_or_default(),
    );
    if name != here.name || kernel != here.kernel {
        return refuse(
            format!(
                "The Docker daemon runs on another machine or in another container (`{name}`, Linux {kernel}) than Warren (`{}`, Linux {}), and can't see its files",
                here.name, here.kernel
            ),
            "Start Warren there, or set DOCKER_HOST to a daemon of this host",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of `GET /info`, shortened to what is looked at.
    fn info(name: &str, kernel: &str, security: &[&str]) -> SystemInfo {
        SystemInfo {
            name: Some(name.to_owned()),
            kernel_version: Some(kernel.to_owned()),
            os_type: Some("linux".to_owned()),
            security_options: Some(security.iter().map(|&option| option.to_owned()).collect()),
            ..SystemInfo::default()
        }
    }

    const HERE: Host<'_> = Host {
        name: "host",
        kernel: "6.1.0-18-amd64",
    };
    const SECCOMP: &str = "name=seccomp,profile=builtin";

    #[test]
    fn daemons_of_this_host_fit() {
        let plain = info("host", HERE.kernel, &["name=apparmor", SECCOMP]);
        fits(&plain, &HERE).unwrap();
        let version_2 = info("host", HERE.kernel, &[SECCOMP, "name=cgroupns"]);
        fits(&version_2, &HERE).unwrap();
        fits(&info("host", HERE.kernel, &[]), &HERE).unwrap();
    }

    #[test]
    fn others_are_refused_with_reason_and_next_step() {
        let mut windows = info("host", "10.0 20348", &[]);
        windows.os_type = Some("windows".to_owned());
        let cases = [
            (windows, "other than Linux containers"),
            (
                info("host", HERE.kernel, &[SECCOMP, "name=rootless"]),
                "is rootless",
            ),
            (
                info("host", HERE.kernel, &[SECCOMP, "name=userns"]),
                "userns-remap",
            ),
            (info("other", HERE.kernel, &[SECCOMP]), "`other`"),
            (
                info("docker-desktop", "6.6.12-linuxkit", &[SECCOMP]),
                "Linux 6.6.12-linuxkit",
            ),
        ];
        for (info, expected) in cases {
            let refused = fits(&info, &HERE).unwrap_err();
            assert!(refused.reason.contains(expected), "{}", refused.reason);
            assert!(refused.next_step.contains("DOCKER_HOST"));
        }
    }

    #[tokio::test]
    async fn silence_comes_with_its_cause() {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("unix://{}/none.sock", folder.path().display());
        let docker = Docker::connect_with_unix(&address, 5, bollard::API_DEFAULT_VERSION);
        let refused = match docker {
            Ok(docker) => examine(&docker).await.unwrap_err(),
            Err(error) => silent(error),
        };
        let reason = &refused.reason;
        assert!(reason.contains("No Docker daemon answers"), "{reason}");
        assert!(refused.next_step.contains("make setup"));
        let denied = silent(Error::from(io::Error::from(
            io::ErrorKind::PermissionDenied,
        )));
        assert!(denied.next_step.contains("group `docker`"));
    }
}
