use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Builder;

/// Stack of every thread. The deepest is serde_json in a claim, and the agent has to stay small.
const STACK: usize = 128 * 1024;

/// Starts a thread that nobody waits for.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(body)
        .map(drop)
}

/// Locks. A panic ends the process (see `hardening`), so a poisoned lock is never seen.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
