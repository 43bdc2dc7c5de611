//! The way from fork to exec. Nothing here allocates, locks or unwinds: another thread may have held any lock when this process was forked.

use std::ffi::{CStr, c_char, c_int};
use std::os::fd::{AsRawFd, OwnedFd};
use std::{mem, ptr};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, write};
use rustix::process::{Gid, Resource, Rlimit, Uid, chdir, setrlimit, setsid, umask};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use crate::filter;

/// All that the child needs, prepared before the fork.
pub(crate) struct Plan<'a> {
    /// Null-terminated; the first is the program.
    pub(crate) arguments: &'a [*const c_char],
    /// Null-terminated.
    pub(crate) environment: &'a [*const c_char],
    pub(crate) directory: &'a CStr,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) open_files: Rlimit,
    pub(crate) processes: Option<Rlimit>,
    /// Become descriptors 0, 1 and 2.
    pub(crate) stdio: &'a [OwnedFd; 3],
    /// Becomes descriptor 3.
    pub(crate) call: Option<&'a OwnedFd>,
    /// Becomes descriptor 4, beside one that is 3.
    pub(crate) handover: Option<&'a OwnedFd>,
    /// Where a failure goes; closed by exec.
    pub(crate) report: &'a OwnedFd,
}

/// The step that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Step {
    Session = 1,
    Descriptors,
    Limits,
    Groups,
    Group,
    User,
    Capabilities,
    NoNewPrivileges,
    Filter,
    Directory,
    Execute,
}

const STEPS: [Step; 11] = [
    Step::Session,
    Step::Descriptors,
    Step::Limits,
    Step::Groups,
    Step::Group,
    Step::User,
    Step::Capabilities,
    Step::NoNewPrivileges,
    Step::Filter,
    Step::Directory,
    Step::Execute,
];

/// Why the child could not execute the runtime.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    step: Step,
    errno: Errno,
}

impl Failure {
    fn encode(&self) -> [u8; 5] {
        let [a, b, c, d] = self.errno.raw_os_error().to_ne_bytes();
        [self.step as u8, a, b, c, d]
    }

    /// Reads what the child reported; `None` if it reported nothing.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let [step, errno @ ..] = *bytes.first_chunk::<5>()?;
        let step = STEPS.into_iter().find(|known| *known as u8 == step)?;
        Some(Self {
            step,
            errno: Errno::from_raw_os_error(i32::from_ne_bytes(errno)),
        })
    }

    /// The failure in words.
    pub(crate) fn describe(&self, program: &CStr, directory: &CStr) -> String {
        let what = match self.step {
            Step::Session => "setsid",
            Step::Descriptors => "dup2",
            Step::Limits => "setrlimit",
            Step::Groups => "setgroups",
            Step::Group => "setresgid",
            Step::User => "setresuid",
            Step::Capabilities => "capset",
            Step::NoNewPrivileges => "no_new_privs",
            Step::Filter => "seccomp",
            Step::Directory => {
                return format!("chdir {}: {}", directory.to_string_lossy(), self.errno);
            }
            Step::Execute => return format!("exec {}: {}", program.to_string_lossy(), self.errno),
        };
        format!("{what}: {}", self.errno)
    }
}

/// Becomes the runtime, or reports why not and exits.
///
/// # Safety
/// Only in the child of a fork. The pointers in `plan` are null-terminated arrays of C strings.
pub(crate) unsafe fn run(plan: &Plan<'_>) -> ! {
    // SAFETY: as this function's.
    let Err(failure) = unsafe { prepare(plan) };
    let _ = write(plan.report, &failure.encode());
    // SAFETY: _exit takes an integer and runs no handlers.
    unsafe { libc::_exit(127) }
}

unsafe fn prepare(plan: &Plan<'_>) -> Result<std::convert::Infallible, Failure> {
    let at = |step| move |errno| Failure { step, errno };
    reset_signals();
    setsid().map_err(at(Step::Session))?;
    umask(Mode::from_bits_truncate(0o022));
    // While /proc is still ours: with the agent's process not dumpable, its files there belong to root.
    first_victim_of_memory_shortage();

    let mut count = 0;
    for fd in plan.stdio.iter().chain(plan.call).chain(plan.handover) {
        duplicate(fd, count as c_int).map_err(at(Step::Descriptors))?;
        count += 1;
    }
    close_others_on_exec(count);

    setrlimit(Resource::Nofile, plan.open_files).map_err(at(Step::Limits))?;
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(at(Step::Limits))?;
    if let Some(processes) = plan.processes {
        setrlimit(Resource::Nproc, processes).map_err(at(Step::Limits))?;
    }

    // Needs SETPCAP, which the agent does not hold in a sandbox; what stays in the set there can't be had with no_new_privs.
    for bit in 0..u64::BITS {
        let _ = remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit));
    }
    set_thread_groups(&[]).map_err(at(Step::Groups))?;
    set_thread_res_gid(plan.gid, plan.gid, plan.gid).map_err(at(Step::Group))?;
    set_thread_res_uid(plan.uid, plan.uid, plan.uid).map_err(at(Step::User))?;
    // Leaving uid 0 has cleared all but the inheritable set, unless securebits say otherwise.
    let none = CapabilitySet::empty();
    let none = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    set_capabilities(None, none).map_err(at(Step::Capabilities))?;
    match clear_ambient_capability_set() {
        // A kernel without ambient capabilities.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(errno) => return Err(at(Step::Capabilities)(errno)),
    }
    set_no_new_privs(true).map_err(at(Step::NoNewPrivileges))?;
    filter::install().map_err(at(Step::Filter))?;
    // As the runtime's user, who may not be allowed to.
    chdir(plan.directory).map_err(at(Step::Directory))?;
    // SAFETY: both arrays are null-terminated and hold C strings, by this function's contract.
    unsafe {
        libc::execve(
            plan.arguments[0],
            plan.arguments.as_ptr(),
            plan.environment.as_ptr(),
        )
    };
    Err(at(Step::Execute)(last_errno()))
}

/// Gives every signal its default, and blocks none: Rust ignores SIGPIPE and the agent blocks SIGCHLD, and both would outlive exec.
fn reset_signals() {
    // A kernel sigaction of zeroes: default action, no flags, nothing blocked.
    let default = [0u64; 4];
    // SAFETY: the kernel reads the 32 bytes given, and refuses signals whose action can't be set. The set is initialised by sigemptyset.
    unsafe {
        for signal in 1..=64 {
            // Not through libc, which keeps two signals to itself.
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                &default,
                ptr::null::<u64>(),
                mem::size_of::<u64>(),
            );
        }
        let mut none = mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut());
    }
}

fn duplicate(fd: &OwnedFd, number: c_int) -> Result<(), Errno> {
    // SAFETY: the child owns no descriptor by these low numbers: whatever was there is the agent's copy and not used again.
    match unsafe { libc::dup2(fd.as_raw_fd(), number) } {
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

/// The agent's descriptors close by themselves; those that the engine left open in PID 1 may not.
fn close_others_on_exec(first: usize) {
    // SAFETY: close_range takes three integers and with this flag closes nothing yet.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first as libc::c_uint,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if done == 0 {
        return;
    }
    // Before Linux 5.11.
    for number in first..1024 {
        // SAFETY: fcntl with these arguments sets a flag or fails.
        unsafe { libc::fcntl(number as c_int, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// When memory is short, the kernel is to take this process and never the agent.
fn first_victim_of_memory_shortage() {
    if let Ok(file) = open(c"/proc/self/oom_score_adj", OFlags::WRONLY, Mode::empty()) {
        let _ = write(&file, b"1000");
    }
}

fn last_errno() -> Errno {
    // SAFETY: gives a pointer to this thread's errno, which is always valid.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_survive_the_pipe() {
        let failure = Failure {
            step: Step::Execute,
            errno: Errno::NOENT,
        };
        assert_eq!(
            Failure::decode(&failure.encode()),
            Some(Failure {
                step: Step::Execute,
                errno: Errno::NOENT
            })
        );
        assert_eq!(
            failure.describe(c"/x", c"/"),
            "exec /x: No such file or directory (os error 2)"
        );
        assert_eq!(Failure::decode(b""), None);
        assert!(
            STEPS
                .iter()
                .enumerate()
                .all(|(index, step)| *step as usize == index + 1)
        );
    }
}
