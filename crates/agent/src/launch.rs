use std::ffi::{CString, c_char};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::ptr;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Gid, Pid, Resource, Rlimit, Uid, getrlimit};
use warren_protocol::Claim;

use crate::child::{self, Failure, Plan};

/// Descriptors below this are the runtime's own.
const FIRST_FREE: i32 = 10;

/// A claim in the form that the system calls take.
#[derive(Debug)]
pub(crate) struct Launch {
    arguments: Vec<CString>,
    environment: Vec<CString>,
    directory: CString,
    uid: Uid,
    gid: Gid,
    open_files: u64,
    processes: Option<u64>,
}

/// What the runtime inherits: descriptors 0 to 2, 3 on the `stream` interface, and 4 there if a checkpoint of it is to be taken.
pub(crate) struct Stdio {
    pub(crate) stdin: OwnedFd,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) call: Option<OwnedFd>,
    /// Where its next call stream comes from.
    pub(crate) handover: Option<OwnedFd>,
}

impl Launch {
    /// Checks a claim.
    ///
    /// # Errors
    /// What can't be started this way, for the host.
    pub(crate) fn new(claim: &Claim) -> Result<Self, String> {
        let text = |what: &str, text: &str| {
            CString::new(text).map_err(|_| format!("{what} contains a zero byte"))
        };
        let arguments = claim
            .command
            .iter()
            .map(|a| text("the command", a))
            .collect::<Result<Vec<_>, _>>()?;
        match claim.command.first() {
            Some(program) if program.starts_with('/') => {}
            Some(program) => {
                return Err(format!("the program {program:?} is not an absolute path"));
            }
            None => return Err("the command is empty".to_owned()),
        }
        let environment = claim.environment.iter().map(|(name, value)| {
            if name.is_empty() || name.contains('=') {
                return Err(format!("{name:?} is not a name of an environment variable"));
            }
            text("the environment", &format!("{name}={value}"))
        });
        // u32::MAX means "leave as it is" to the kernel.
        if claim.uid == 0 || claim.uid == u32::MAX || claim.gid == u32::MAX {
            return Err(format!(
                "a runtime can't run as uid {} and gid {}",
                claim.uid, claim.gid
            ));
        }
        Ok(Self {
            arguments,
            environment: environment.collect::<Result<_, _>>()?,
            directory: text("the directory", &claim.directory)?,
            uid: Uid::from_raw(claim.uid),
            gid: Gid::from_raw(claim.gid),
            open_files: claim.open_files,
            processes: claim.processes,
        })
    }

    /// Starts the runtime; returns when it has been executed.
    ///
    /// # Errors
    /// Which step failed and why, for the host.
    pub(crate) fn spawn(&self, stdio: Stdio) -> Result<Pid, String> {
        let Stdio {
            stdin,
            stdout,
            stderr,
            call,
            handover,
        } = stdio;
        let describe = |error: io::Error| format!("can't prepare the start: {error}");
        // Out of the way of the numbers that they will get.
        let lift = |fd: &OwnedFd| {
            fcntl_dupfd_cloexec(fd, FIRST_FREE).map_err(|error| describe(error.into()))
        };
        let lifted = [lift(&stdin)?, lift(&stdout)?, lift(&stderr)?];
        let call = call.as_ref().map(lift).transpose()?;
        let handover = handover.as_ref().map(lift).transpose()?;
        let (failure, low_report) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|error| describe(error.into()))?;
        let report = lift(&low_report)?;
        drop(low_report);

        let plan = Plan {
            arguments: &pointers(&self.arguments),
            environment: &pointers(&self.environment),
            directory: &self.directory,
            uid: self.uid,
            gid: self.gid,
            open_files: within_hard_limit(Resource::Nofile, self.open_files),
            processes: self
                .processes
                .map(|count| within_hard_limit(Resource::Nproc, count)),
            stdio: &lifted,
            call: call.as_ref(),
            handover: handover.as_ref(),
            report: &report,
        };
        // SAFETY: fork takes nothing; what the child may do is up to the branch below.
        let pid = match unsafe { libc::fork() } {
            -1 => return Err(format!("fork: {}", io::Error::last_os_error())),
            // SAFETY: this is the child of a fork, which runs nothing else, and `plan` lives until it executes or exits.
            0 => unsafe { child::run(&plan) },
            pid => Pid::from_raw(pid).ok_or("fork gave no process")?,
        };
        // The last writing end is the child's, and its exec closes it.
        drop(report);
        let mut bytes = Vec::new();
        File::from(failure)
            .read_to_end(&mut bytes)
            .map_err(describe)?;
        match Failure::decode(&bytes) {
            None => Ok(pid),
            Some(failure) => Err(failure.describe(&self.arguments[0], &self.directory)),
        }
    }
}

/// The limit wanted, or what may be had without a privilege that the agent does not hold.
fn within_hard_limit(resource: Resource, wanted: u64) -> Rlimit {
    let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let value = Some(wanted.min(most));
    Rlimit {
        current: value,
        maximum: value,
    }
}

/// A null-terminated array for exec.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain([ptr::null()])
        .collect()
}

#[cfg(test)]
mod tests {
    use warren_protocol::Interface;

    use super::*;

    fn refusal(change: fn(&mut Claim)) -> String {
        let mut claim = Claim {
            command: vec!["/bin/true".into()],
            interface: Interface::Stream,
            environment: [("A".to_owned(), "1".to_owned())].into(),
            directory: "/".into(),
            uid: 1000,
            gid: 1000,
            open_files: 64,
            processes: None,
            snapshot: false,
        };
        assert!(Launch::new(&claim).is_ok());
        change(&mut claim);
        Launch::new(&claim).unwrap_err()
    }

    #[test]
    fn refuses_claims_that_make_no_sense() {
        assert_eq!(refusal(|c| c.command.clear()), "the command is empty");
        assert_eq!(
            refusal(|c| c.command[0] = "sh".into()),
            "the program \"sh\" is not an absolute path"
        );
        assert_eq!(
            refusal(|c| c.command.push("a\0b".into())),
            "the command contains a zero byte"
        );
        assert_eq!(
            refusal(|c| c.uid = 0),
            "a runtime can't run as uid 0 and gid 1000"
        );
        let named = refusal(|c| drop(c.environment.insert("A=B".into(), "1".into())));
        assert_eq!(named, "\"A=B\" is not a name of an environment variable");
    }
}
