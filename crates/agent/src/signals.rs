use std::sync::Arc;
use std::{mem, process, ptr};

use rustix::process::{WaitOptions, WaitStatus, wait};
use warren_protocol::Exited;

use crate::report::report;
use crate::supervisor::Supervisor;
use crate::threads::spawn;

/// The signals that are waited for instead of handled.
pub(crate) struct Blocked(libc::sigset_t);

/// Blocks SIGCHLD and the signals that ask the agent to end, for this thread and those it starts.
pub(crate) fn block() -> Blocked {
    // SAFETY: sigemptyset initialises the set before it is read; all pointers are to locals.
    unsafe {
        let mut set = mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT] {
            libc::sigaddset(&mut set, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut());
        Blocked(set)
    }
}

/// Starts the thread that reaps every child, also those that were left to PID 1, and ends the agent on SIGTERM and SIGINT.
pub(crate) fn start(blocked: Blocked, supervisor: Arc<Supervisor>) -> Result<(), String> {
    let body = move || loop {
        let mut signal = 0;
        // SAFETY: the set was initialised by `block`; `signal` is a local.
        let error = unsafe { libc::sigwait(&blocked.0, &mut signal) };
        match (error, signal) {
            (0, libc::SIGCHLD) => reap(&supervisor),
            (0, _) => {
                report(format_args!("ended by signal {signal}"));
                supervisor.kill();
                process::exit(0);
            }
            _ => report(format_args!("sigwait: error {error}")),
        }
    };
    spawn("signals", body).map_err(|error| format!("can't start a thread: {error}"))
}

/// Reaps all that have ended: one SIGCHLD may stand for several.
fn reap(supervisor: &Supervisor) {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if let Some(exited) = describe(status) {
            supervisor.child_exited(pid, exited);
        }
    }
}

fn describe(status: WaitStatus) -> Option<Exited> {
    status
        .exit_status()
        .map(Exited::Code)
        .or_else(|| status.terminating_signal().map(Exited::Signal))
}

/// Sends SIGKILL to all processes but this one. Only for PID 1: elsewhere this would reach far beyond the runtime.
pub(crate) fn kill_all_others() {
    // SAFETY: kill takes two integers.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}
