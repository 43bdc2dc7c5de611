use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        watch,
    },
    time::timeout,
};
use warren_model::native::RunEnd;

use super::RunEvent;

/// Most bytes that are kept of a program that is over: what its two pipes and the streams behind them hold, a program may enlarge its pipes to 1 MiB each.
const KEPT: usize = 4 << 20;

/// The way of a run's output to its client, who decides how fast the program can write. Once the program is over, the rest of its output is kept, so that
/// neither its sandbox nor its room waits for a slow client.
pub(super) struct Delivery {
    events: mpsc::Sender<RunEvent>,
    /// Bytes of output that may still come, over both streams.
    allowance: AtomicU64,
    keeping: watch::Sender<bool>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    events: VecDeque<RunEvent>,
    bytes: usize,
}

/// Why no more output is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// There was more than the run's limit; as much of it as may pass is on its way.
    Limit,
    /// There was more than a program that is over can have left.
    Full,
    ClientGone,
}

impl Delivery {
    pub(super) fn new(events: mpsc::Sender<RunEvent>, max_output: u64) -> Self {
        Self {
            events,
            allowance: AtomicU64::new(max_output),
            keeping: watch::Sender::new(false),
            kept: Mutex::default(),
        }
    }

    /// Returns once the client is gone.
    pub(super) async fn closed(&self) {
        self.events.closed().await;
    }

    /// Passes a piece of output on, as far as the limit allows.
    pub(super) async fn output(
        &self,
        piece: Bytes,
        event: fn(Bytes) -> RunEvent,
    ) -> Result<(), Stop> {
        let (piece, whole) = self.allowed(piece);
        if !piece.is_empty() {
            self.pass_on(event(piece)).await?;
        }
        match whole {
            true => Ok(()),
            false => Err(Stop::Limit),
        }
    }

    /// Says something in the standard error. Waits for nobody.
    pub(super) fn note(&self, line: String) {
        let event = RunEvent::Stderr(line.into());
        let event = match *self.keeping.borrow() {
            true => event,
            false => match self.events.try_send(event) {
                Err(TrySendError::Full(event)) => event,
                Ok(()) | Err(TrySendError::Closed(_)) => return,
            },
        };
        self.kept().events.push_back(event);
    }

    /// From now on nothing waits for the client, what waits now included.
    pub(super) fn keep(&self) {
        self.keeping.send_replace(true);
    }

    /// Passes on what was kept; whether the client took it in time, if it was there to take it.
    pub(super) async fn rest(&self, within: Duration) -> bool {
        let kept = std::mem::take(&mut *self.kept());
        let rest = async {
            for event in kept.events {
                if self.events.send(event).await.is_err() {
                    return;
                }
            }
        };
        timeout(within, rest).await.is_ok()
    }

    /// Tells the end.
    pub(super) async fn end(&self, end: RunEnd) {
        // Whoever went away needs no answer.
        let _ = self.events.send(RunEvent::End(end)).await;
    }

    async fn pass_on(&self, event: RunEvent) -> Result<(), Stop> {
        let mut keeping = self.keeping.subscribe();
        tokio::select! {
            biased;
            _ = keeping.wait_for(|keeping| *keeping) => self.put_by(event),
            room = self.events.reserve() => match room {
                Ok(room) => {
                    room.send(event);
                    Ok(())
                }
                Err(_) => Err(Stop::ClientGone),
            }
        }
    }

    fn put_by(&self, event: RunEvent) -> Result<(), Stop> {
        let mut kept = self.kept();
        if let RunEvent::Stdout(piece) | RunEvent::Stderr(piece) = &event {
            if kept.bytes + piece.len() > KEPT {
                return Err(Stop::Full);
            }
            kept.bytes += piece.len();
        }
        kept.events.push_back(event);
        Ok(())
    }

    /// As much of a piece as may pass, and whether that is all.
    fn allowed(&self, mut piece: Bytes) -> (Bytes, bool) {
        let left = self.allowance.load(Ordering::Relaxed);
        let length = piece.len() as u64;
        // Only one task takes, so nothing happens between the two.
        self.allowance
            .store(left.saturating_sub(length), Ordering::Relaxed);
        match usize::try_from(left) {
            Ok(left) if left < piece.len() => {
                piece.truncate(left);
                (piece, false)
            }
            _ => (piece, true),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// The text of the next event, if one is there.
    fn next(events: &mut mpsc::Receiver<RunEvent>) -> Option<Bytes> {
        match events.try_recv().ok()? {
            RunEvent::Stdout(bytes) | RunEvent::Stderr(bytes) => Some(bytes),
            RunEvent::End(_) => None,
        }
    }

    #[test]
    fn output_is_cut_at_its_limit_and_not_before() {
        let of = |max_output| Delivery::new(mpsc::channel(1).0, max_output);
        let delivery = of(5);
        assert_eq!(delivery.allowed("abc".into()), ("abc".into(), true));
        assert_eq!(delivery.allowed("de".into()), ("de".into(), true));
        assert_eq!(delivery.allowed("f".into()), ("".into(), false));
        assert_eq!(of(5).allowed("abcdefg".into()), ("abcde".into(), false));
    }

    #[tokio::test]
    async fn a_slow_client_gets_all_that_was_written_before_the_end() {
        let (sender, mut events) = mpsc::channel(1);
        let delivery = Delivery::new(sender, 100);
        delivery.output("a".into(), RunEvent::Stdout).await.unwrap();
        let mut waits = Box::pin(delivery.output("b".into(), RunEvent::Stderr));
        assert!(waits.as_mut().now_or_never().is_none());
        delivery.keep();
        // What waits, what comes then, and what Warren says of it.
        assert_eq!(waits.now_or_never(), Some(Ok(())));
        let more = delivery.output("c".into(), RunEvent::Stdout);
        assert_eq!(more.now_or_never(), Some(Ok(())));
        delivery.note("d".to_owned());
        let read = async {
            let mut all = Vec::new();
            while all.len() < 4 {
                if let Some(bytes) = next(&mut events) {
                    all.extend_from_slice(&bytes);
                }
                tokio::task::yield_now().await;
            }
            all
        };
        let (in_time, all) = tokio::join!(delivery.rest(Duration::from_secs(30)), read);
        assert_eq!((in_time, all), (true, b"abcd".to_vec()));
    }

    #[tokio::test]
    async fn what_is_not_taken_in_time_is_told() {
        let (sender, events) = mpsc::channel(1);
        let delivery = Delivery::new(sender, u64::MAX);
        delivery.output("a".into(), RunEvent::Stdout).await.unwrap();
        delivery.keep();
        let piece = Bytes::from(vec![0; KEPT]);
        assert_eq!(delivery.output(piece, RunEvent::Stdout).await, Ok(()));
        let more = delivery.output("b".into(), RunEvent::Stdout);
        assert_eq!(more.await, Err(Stop::Full));
        assert!(!delivery.rest(Duration::from_millis(10)).await);
        // A client that is gone misses nothing.
        delivery.output("c".into(), RunEvent::Stdout).await.unwrap();
        drop(events);
        assert!(delivery.rest(Duration::from_secs(30)).await);
    }
}
