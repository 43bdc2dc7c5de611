use std::time::Duration;

use tokio::time::Instant;
use warren_model::Wait;

/// How an instance came to take its next call, if it was not simply there: what was done, and when. The call that comes next waited for as much of it as lies
/// behind its own beginning.
///
/// ```text
///   begun ── start, restore, claim or thaw ──► there ── Init ──► ready
/// ```
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    pub(super) kind: Wait,
    pub(super) begun: Instant,
    /// The sandbox is there.
    pub(super) there: Instant,
    /// Init is over, well or not; the same as `there` where there is none.
    pub(super) ready: Instant,
}

/// What a call waited for until it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Waited {
    pub(super) queued: Duration,
    pub(super) kind: Wait,
    pub(super) wait: Duration,
    pub(super) init: Duration,
}

/// The parts of the time between a call's acceptance and the moment at which its instance ran it.
pub(super) fn waited(opening: Option<Opening>, accepted: Instant, run: Instant) -> Waited {
    let whole = run.saturating_duration_since(accepted);
    let Some(opening) = opening else {
        return Waited {
            queued: whole,
            ..Waited::default()
        };
    };
    let within =
        |from: Instant, to: Instant| to.min(run).saturating_duration_since(from.max(accepted));
    let wait = within(opening.begun, opening.there);
    let init = within(opening.there, opening.ready);
    let waited = !(wait + init).is_zero();
    Waited {
        queued: whole.saturating_sub(wait + init),
        kind: if waited { opening.kind } else { Wait::None },
        wait,
        init,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An opening of 5 ms and an Init of 3 ms, which begin at `begun` ms; a call is accepted at `accepted` ms and runs at `run` ms.
    fn of(begun: u64, accepted: u64, run: u64) -> (u64, Wait, u64, u64) {
        let zero = Instant::now();
        let at = |millis| zero + Duration::from_millis(millis);
        let opening = Opening {
            kind: Wait::Start,
            begun: at(begun),
            there: at(begun + 5),
            ready: at(begun + 8),
        };
        let found = waited(Some(opening), at(accepted), at(run));
        let millis = |part: Duration| part.as_millis() as u64;
        (
            millis(found.queued),
            found.kind,
            millis(found.wait),
            millis(found.init),
        )
    }

    #[test]
    fn a_call_waits_for_what_lies_behind_its_beginning() {
        // It asked for the instance, and waited for a turn to start it.
        assert_eq!(of(12, 10, 21), (3, Wait::Start, 5, 3));
        // Another call asked for it: this one came while the sandbox started, or during Init.
        assert_eq!(of(12, 14, 20), (0, Wait::Start, 3, 3));
        assert_eq!(of(12, 18, 20), (0, Wait::Start, 0, 2));
        // It was there.
        assert_eq!(of(12, 20, 21), (1, Wait::None, 0, 0));
        assert_eq!(of(12, 30, 30), (0, Wait::None, 0, 0));
    }

    #[test]
    fn parts_make_the_whole() {
        for begun in 0..20 {
            for accepted in 0..30 {
                for more in 0..20 {
                    let (queued, _, wait, init) = of(begun, accepted, accepted + more);
                    assert_eq!(queued + wait + init, more);
                }
            }
        }
        let now = Instant::now();
        let found = waited(None, now, now + Duration::from_millis(4));
        assert_eq!(found.queued, Duration::from_millis(4));
        assert_eq!(found.kind, Wait::None);
    }
}
