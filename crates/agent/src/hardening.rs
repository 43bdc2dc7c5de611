use std::process;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::report::report;

/// Allocations from this size on are mapped on their own, so that they are given back when freed.
const MMAP_THRESHOLD: i32 = 128 * 1024;

/// Makes this process unreadable for the runtime, small, and fail-stop.
pub(crate) fn apply() -> Result<(), String> {
    // Its memory holds the secret; /proc/1/mem and ptrace are closed to other processes by this.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| format!("can't become undumpable: {error}"))?;
    // SAFETY: mallopt takes two integers; no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD);
    }
    // A half-dead PID 1 is worse than none: without it the kernel ends the sandbox.
    std::panic::set_hook(Box::new(|info| {
        report(info);
        process::exit(101);
    }));
    Ok(())
}
