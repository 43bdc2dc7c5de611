use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::threads::lock;

/// How long the host waits at most for the error of a call whose answer was refused.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// The error of a call whose answer was refused, which the host is not told yet.
///
/// A refusal is a reason for some clients to exit (AWS's own for Python does). The host must not send the next call to such a runtime, so it is told
/// when the runtime asks for more, has ended, or has let [`PATIENCE`] pass on the connection that was refused. What other connections do meanwhile says
/// nothing: the refusal may not even have arrived.
#[derive(Default)]
pub(crate) struct LateError {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
enum State {
    #[default]
    Nothing,
    Kept(Pending),
    /// Somebody is telling it, without the lock: the host may let him wait.
    Telling,
}

struct Pending {
    call: u32,
    error: Vec<u8>,
    since: Instant,
}

impl LateError {
    /// Keeps the error of this call. There is one at a time, as the call is not over before it is told.
    pub(crate) fn keep(&self, call: u32, error: Vec<u8>) {
        *lock(&self.state) = State::Kept(Pending {
            call,
            error,
            since: Instant::now(),
        });
    }

    /// Tells it, if there is one and, where a call is named, if it is that call's. Nobody else goes on with the call before that is done.
    pub(crate) fn tell(&self, only: Option<u32>, tell: impl FnOnce(u32, &[u8])) {
        let mut state = self
            .changed
            .wait_while(lock(&self.state), |state| matches!(state, State::Telling))
            .unwrap_or_else(PoisonError::into_inner);
        if !is_kept(&state, only) {
            return;
        }
        if let State::Kept(late) = std::mem::replace(&mut *state, State::Telling) {
            drop(state);
            tell(late.call, &late.error);
            *lock(&self.state) = State::Nothing;
            self.changed.notify_all();
        }
    }

    /// Waits until somebody has told that of this call, at most until [`PATIENCE`] is over since it was kept.
    pub(crate) fn wait(&self, call: u32) {
        let state = lock(&self.state);
        let State::Kept(Pending { since, .. }) = &*state else {
            return;
        };
        let rest = PATIENCE.saturating_sub(since.elapsed());
        // Whether it was told or the time is over, there is nothing more to wait for.
        drop(
            self.changed
                .wait_timeout_while(state, rest, |state| is_kept(state, Some(call)))
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Waits until nobody is telling; gives whether that was so within [`PATIENCE`].
    pub(crate) fn is_quiet_in_time(&self) -> bool {
        let outcome = self
            .changed
            .wait_timeout_while(lock(&self.state), PATIENCE, |state| {
                matches!(state, State::Telling)
            });
        !outcome
            .unwrap_or_else(PoisonError::into_inner)
            .1
            .timed_out()
    }
}

fn is_kept(state: &State, only: Option<u32>) -> bool {
    matches!(state, State::Kept(late) if only.is_none_or(|call| call == late.call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_once() {
        let late = LateError::default();
        let mut told = Vec::new();
        late.tell(None, |call, _| told.push(call));
        late.keep(7, b"e".to_vec());
        late.tell(Some(7), |call, error| {
            assert_eq!(error, b"e");
            told.push(call);
        });
        late.tell(None, |call, _| told.push(call));
        late.wait(7);
        assert_eq!(told, [7]);
    }

    #[test]
    fn only_the_owner_tells_it_by_its_number() {
        let late = LateError::default();
        late.keep(7, Vec::new());
        late.tell(Some(6), |call, _| panic!("{call}"));
        // The owner of another call has nothing to wait for.
        late.wait(6);
        let mut told = 0;
        late.tell(Some(7), |call, _| told = call);
        assert_eq!(told, 7);
    }

    #[test]
    fn one_who_hangs_while_telling_is_seen() {
        let late = LateError::default();
        late.keep(7, Vec::new());
        late.tell(None, |_, _| assert!(!late.is_quiet_in_time()));
        assert!(late.is_quiet_in_time());
    }
}
