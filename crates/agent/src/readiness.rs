use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;

/// Waits until one of the descriptors is ready, for ever without a `timeout`. Gives how many are ready; 0 after the time.
pub(crate) fn wait_ready(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<usize> {
    let end = timeout.map(|timeout| Instant::now() + timeout);
    loop {
        let rest = end.map(|end| {
            let rest = end.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: rest.as_secs() as i64,
                tv_nsec: i64::from(rest.subsec_nanos()),
            }
        });
        match poll(fds, rest.as_ref()) {
            Err(Errno::INTR) => {}
            other => return other.map_err(io::Error::from),
        }
    }
}
