use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use warren_protocol::Deadline;

use crate::report::report;
use crate::supervisor::Supervisor;
use crate::threads::{lock, spawn};

/// The time at which the agent kills the runtime by itself, in case the host can't.
#[derive(Default)]
pub(crate) struct Alarm {
    /// Call and time.
    set: Mutex<Option<(u32, Instant)>>,
    changed: Condvar,
}

impl Alarm {
    /// Follows a DEADLINE frame: the newest counts, and is taken back only under its own call.
    pub(crate) fn apply(&self, deadline: Deadline) {
        let mut set = lock(&self.set);
        match deadline.remaining_ms {
            // A time too far to be represented never comes.
            Some(ms) => {
                *set = Instant::now()
                    .checked_add(Duration::from_millis(ms))
                    .map(|at| (deadline.call, at))
            }
            None => *set = set.filter(|(call, _)| *call != deadline.call),
        }
        self.changed.notify_one();
    }

    /// Forgets the deadline: the runtime that it was for has ended.
    pub(crate) fn clear(&self) {
        *lock(&self.set) = None;
    }

    /// Returns when a deadline has passed, with its call.
    fn wait(&self) -> u32 {
        let mut set = lock(&self.set);
        loop {
            set = match *set {
                None => self
                    .changed
                    .wait(set)
                    .unwrap_or_else(PoisonError::into_inner),
                Some((call, at)) => {
                    let rest = at.saturating_duration_since(Instant::now());
                    if rest.is_zero() {
                        *set = None;
                        return call;
                    }
                    self.changed
                        .wait_timeout(set, rest)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }
}

/// Starts the thread that kills the runtime when its deadline has passed.
pub(crate) fn start(supervisor: Arc<Supervisor>) -> Result<(), String> {
    let body = move || loop {
        let call = supervisor.alarm.wait();
        report(format_args!("deadline of call {call} has passed"));
        supervisor.kill();
    };
    spawn("deadline", body).map_err(|error| format!("can't start a thread: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_deadline_counts() {
        let alarm = Alarm::default();
        alarm.apply(Deadline {
            call: 1,
            remaining_ms: Some(0),
        });
        alarm.apply(Deadline {
            call: 2,
            remaining_ms: Some(5),
        });
        alarm.apply(Deadline {
            call: 1,
            remaining_ms: None,
        });
        assert_eq!(alarm.wait(), 2);
        alarm.apply(Deadline {
            call: 3,
            remaining_ms: Some(u64::MAX),
        });
        alarm.apply(Deadline {
            call: 3,
            remaining_ms: None,
        });
        assert_eq!(*lock(&alarm.set), None);
    }
}
