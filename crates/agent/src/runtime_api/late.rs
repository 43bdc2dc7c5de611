use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::threads::lock;

/// How long the host waits at most for the error of a call whose answer was refused.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// The error of a call whose answer was refused, which the host is not told yet.
///
/// A refusal is a reason for some clients to exit (AWS's own for Python does). The host must not send the next call to such a runtime, so it is told
/// when the runtime asks for more, has ended, or has let [`PATIENCE`] pass.
#[derive(Default)]
pub(crate) struct LateError {
    pending: Mutex<Option<Pending>>,
    told: Condvar,
}

struct Pending {
    call: u32,
    error: Vec<u8>,
}

impl LateError {
    /// Keeps the error of this call. There is one at a time, as the call is not over before it is told.
    pub(crate) fn keep(&self, call: u32, error: Vec<u8>) {
        *lock(&self.pending) = Some(Pending { call, error });
    }

    /// Whether there is one.
    pub(crate) fn is_pending(&self) -> bool {
        lock(&self.pending).is_some()
    }

    /// Tells it, if there is one; nobody else goes on with this call before that is done.
    pub(crate) fn tell(&self, tell: impl FnOnce(u32, &[u8])) {
        let mut pending = lock(&self.pending);
        if let Some(late) = pending.take() {
            tell(late.call, &late.error);
            self.told.notify_all();
        }
    }

    /// Waits until somebody has told it, at most for [`PATIENCE`].
    pub(crate) fn wait(&self) {
        let pending = lock(&self.pending);
        // Whether it was told or the time is over, there is nothing more to wait for.
        drop(
            self.told
                .wait_timeout_while(pending, PATIENCE, |pending| pending.is_some())
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_once() {
        let late = LateError::default();
        let mut told = Vec::new();
        late.tell(|call, _| told.push(call));
        assert!(!late.is_pending());
        late.keep(7, b"e".to_vec());
        assert!(late.is_pending());
        late.tell(|call, error| {
            assert_eq!(error, b"e");
            told.push(call);
        });
        late.tell(|call, _| told.push(call));
        late.wait();
        assert_eq!(told, [7]);
    }
}
