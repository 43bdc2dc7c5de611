//! The command lines of `runsc`, with paths of the view.

use std::{ffi::OsString, path::Path};

use warren_model::NetworkPolicy;

use super::trial::Platform;
use crate::oci::{Entry, LOG, PID, STATE};

/// Numbers in the view: the instance's folder is the first, then comes the program.
const FOLDER: usize = 0;
pub(super) const RUNSC: usize = 1;

/// For one sandbox.
pub(super) struct Runsc<'a> {
    pub(super) view: &'a Path,
    pub(super) platform: Platform,
    pub(super) network: &'a NetworkPolicy,
    pub(super) instance: &'a str,
}

impl Runsc<'_> {
    /// Starts it from its bundle; comes back when it runs, or with `detach` off when it has ended.
    pub(super) fn run(&self, detach: bool) -> Vec<OsString> {
        self.start(&["run".into()], detach)
    }

    /// Starts it from this image in place of its bundle's program.
    pub(super) fn restore(&self, image: &Path) -> Vec<OsString> {
        self.start(
            &["restore".into(), "--image-path".into(), image.into()],
            true,
        )
    }

    /// Writes it to an image; it ends thereby. Not compressed: reading it back would take longer than starting anew.
    pub(super) fn checkpoint(&self, image: &Path) -> Vec<OsString> {
        let mut command = self.base();
        command.extend(["checkpoint", "--compression", "none"].map(OsString::from));
        command.extend(["--image-path".into(), image.into()]);
        command.push(self.instance.into());
        command
    }

    fn start(&self, what: &[OsString], detach: bool) -> Vec<OsString> {
        let folder = Entry::place(self.view, FOLDER);
        let mut command = self.base();
        command.extend_from_slice(what);
        if detach {
            command.push("--detach".into());
        }
        command.extend(["--pid-file".into(), folder.join(PID).into()]);
        command.extend(["--bundle".into(), folder.into()]);
        command.push(self.instance.into());
        command
    }

    /// Program and options that all its commands have.
    fn base(&self) -> Vec<OsString> {
        let folder = Entry::place(self.view, FOLDER);
        let network = match self.network {
            NetworkPolicy::None => "none",
            _ => "sandbox",
        };
        let mut command: Vec<OsString> = vec![
            Entry::place(self.view, RUNSC).into(),
            "--root".into(),
            folder.join(STATE).into(),
            "--log".into(),
            folder.join(LOG).into(),
        ];
        command.extend(
            [
                "--ignore-cgroups".to_owned(),
                format!("--platform={}", self.platform),
                format!("--network={network}"),
                // Sockets in folders of the host: the agent's, and those that the function makes in its own /tmp.
                "--host-uds=all".to_owned(),
                // The sentry opens no file of the host itself.
                "--directfs=false".to_owned(),
                "--overlay2=none".to_owned(),
            ]
            .map(OsString::from),
        );
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &[OsString]) -> String {
        let words: Vec<_> = command.iter().map(|one| one.to_string_lossy()).collect();
        words.join(" ")
    }

    fn runsc(network: &NetworkPolicy) -> Runsc<'_> {
        Runsc {
            view: Path::new("/view"),
            platform: Platform::Systrap,
            network,
            instance: "i-1",
        }
    }

    #[test]
    fn a_sandbox_without_network_has_none_of_the_host_s() {
        let none = words(&runsc(&NetworkPolicy::None).run(true));
        assert!(none.starts_with("/view/1 --root /view/0/state "), "{none}");
        assert!(none.contains(" --network=none "), "{none}");
        let internet = words(&runsc(&NetworkPolicy::Internet).run(true));
        assert!(internet.contains(" --network=sandbox "), "{internet}");
        assert!(!none.contains("host ") && !none.contains("--network=host"));
    }

    #[test]
    fn a_restore_differs_from_a_start_by_its_image() {
        let network = NetworkPolicy::None;
        let runsc = runsc(&network);
        let image = Path::new("/view/7");
        let restore = words(&runsc.restore(image));
        assert_eq!(
            restore.replace("restore --image-path /view/7", "run"),
            words(&runsc.run(true))
        );
        let checkpoint = words(&runsc.checkpoint(image));
        assert!(
            checkpoint.ends_with("--image-path /view/7 i-1"),
            "{checkpoint}"
        );
    }
}
