use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use warren_model::RequestId;

use super::Query;
use crate::LogLine;

/// Lines that wait for a slow follower, in bytes of memory.
const MOST_BYTES: usize = 4 << 20;

/// One thing that a follower learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// A line.
    Line(Arc<LogLine>),
    /// The follower was too slow, and this many lines are missing here.
    Missed(u64),
}

/// The further lines of a function's log, from [`FunctionLogs::follow`](super::FunctionLogs::follow).
#[derive(Debug)]
pub struct Follow {
    channel: Arc<Channel>,
}

/// The writer's end.
#[derive(Debug)]
pub(super) struct Follower {
    channel: Arc<Channel>,
    request: Option<RequestId>,
}

#[derive(Debug, Default)]
struct Channel {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Followed>,
    bytes: usize,
    closed: bool,
}

impl Channel {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both ends, for the lines that a query would match.
pub(super) fn channel(query: &Query) -> (Follower, Follow) {
    let channel = Arc::new(Channel::default());
    let follower = Follower {
        channel: Arc::clone(&channel),
        request: query.request.clone(),
    };
    (follower, Follow { channel })
}

impl Follower {
    /// Nobody follows any more.
    pub(super) fn is_gone(&self) -> bool {
        Arc::strong_count(&self.channel) == 1
    }

    pub(super) fn send(&self, line: &Arc<LogLine>) {
        if self.request.is_some() && self.request != line.request {
            return;
        }
        let mut state = self.channel.state();
        if state.bytes + line.weight() <= MOST_BYTES {
            state.bytes += line.weight();
            state.waiting.push_back(Followed::Line(Arc::clone(line)));
        } else if let Some(Followed::Missed(lines)) = state.waiting.back_mut() {
            *lines += 1;
        } else {
            state.waiting.push_back(Followed::Missed(1));
        }
        drop(state);
        self.channel.changed.notify_one();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.channel.state().closed = true;
        self.channel.changed.notify_one();
    }
}

impl Follow {
    /// The next line, or how many are missing; `None` once the logs are closed or the function's log was deleted. May be dropped while it
    /// waits, without losing a line.
    pub async fn next(&mut self) -> Option<Followed> {
        loop {
            {
                let mut state = self.channel.state();
                if let Some(followed) = state.waiting.pop_front() {
                    if let Followed::Line(line) = &followed {
                        state.bytes -= line.weight();
                    }
                    return Some(followed);
                }
                if state.closed {
                    return None;
                }
            }
            // A notice that came in between is kept for this one.
            self.channel.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn line(text: String) -> Arc<LogLine> {
        Arc::new(LogLine::platform(SystemTime::now(), None, None, text))
    }

    #[tokio::test]
    async fn a_slow_follower_learns_where_and_how_many_lines_are_missing() {
        let (follower, mut follow) = channel(&Query::latest(1));
        let long = line("x".repeat(100_000));
        for _ in 0..50 {
            follower.send(&long);
        }
        let mut lines = 0;
        let missed = loop {
            match follow.next().await {
                Some(Followed::Line(_)) => lines += 1,
                Some(Followed::Missed(missed)) => break missed,
                None => panic!("closed"),
            }
        };
        assert_eq!(lines + missed, 50);
        assert!(missed > 0);
        follower.send(&line("next".to_owned()));
        assert!(matches!(follow.next().await, Some(Followed::Line(line)) if line.text == "next"));
        drop(follower);
        assert_eq!(follow.next().await, None);
    }
}
