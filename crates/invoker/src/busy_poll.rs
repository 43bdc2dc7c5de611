//! Busy polling: a thread that expects the next message at once asks for it again and again for a moment, instead of going to sleep.
//!
//! Waking a sleeping thread costs more than all else that a short call does here (`docs/decisions/0004-busy-polling.md`). Processor time is spent only
//! where it pays: on a peer whose latest message came within the moment, while no more than one call is under way, on a host with a second processor.

use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whether, and how long, to poll; clones share the count of calls.
#[derive(Debug, Clone)]
pub struct BusyPoll {
    most: Duration,
    calls: Arc<AtomicUsize>,
}

impl BusyPoll {
    /// Polls at most this long for one message; not at all if that is zero or there is one processor.
    pub fn new(most: Duration) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::on(processors, most)
    }

    fn on(processors: usize, most: Duration) -> Self {
        Self {
            most: if processors > 1 { most } else { Duration::ZERO },
            calls: Arc::default(),
        }
    }

    /// Counts a call until the value is dropped.
    pub(crate) fn call(&self) -> CallUnderWay {
        self.calls.fetch_add(1, Ordering::Relaxed);
        CallUnderWay(Arc::clone(&self.calls))
    }

    /// Puts a socket under this policy.
    pub fn attend<S>(&self, socket: S) -> Attended<S> {
        Attended {
            socket,
            policy: self.clone(),
            written: None,
            quick: false,
        }
    }

    /// With more calls under way the thread has other work, and their runtimes need the processors.
    fn allowed(&self) -> bool {
        !self.most.is_zero() && self.calls.load(Ordering::Relaxed) <= 1
    }
}

/// A call that is counted.
pub(crate) struct CallUnderWay(Arc<AtomicUsize>);

impl Drop for CallUnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket whose reader polls for a moment after each write.
#[derive(Debug)]
pub struct Attended<S> {
    socket: S,
    policy: BusyPoll,
    /// The latest write, until something is read.
    written: Option<Instant>,
    /// Whether the peer's latest message came within the moment: the best guess for its next one, and a wrong guess costs one moment.
    quick: bool,
}

impl<S> Attended<S> {
    fn wrote(&mut self, outcome: &Poll<io::Result<usize>>) {
        if matches!(outcome, Poll::Ready(Ok(_))) {
            self.written = Some(Instant::now());
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Attended<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.socket).poll_read(context, buffer);
        let Some(written) = self.written else {
            return outcome;
        };
        if outcome.is_ready() {
            self.quick = written.elapsed() < self.policy.most;
            self.written = None;
        } else if self.quick && self.policy.allowed() && written.elapsed() < self.policy.most {
            // Wakes this task once all others and the sockets were looked at: nobody waits for the one that polls.
            let _ = pin!(tokio::task::yield_now()).poll(context);
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Attended<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.wrote(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.wrote(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::timeout,
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    /// More than the looks at the begin and the end of a wait.
    const FEW: u32 = 10;

    /// A peer that never wakes its reader, and has a byte for whoever asks this often.
    struct Silent {
        asks: u32,
        left: u32,
    }

    impl Silent {
        fn after(asks: u32) -> Self {
            Self { asks, left: asks }
        }
    }

    impl AsyncRead for Silent {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.left > 0 {
                self.left -= 1;
                return Poll::Pending;
            }
            self.left = self.asks;
            buffer.put_slice(b"x");
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Silent {
        fn poll_write(
            self: Pin<&mut Self>,
            _context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A socket whose peer answered its first message at once, and then wants to be asked `asks` times.
    async fn after_a_quick_answer(policy: &BusyPoll, asks: u32) -> Attended<Silent> {
        let mut socket = policy.attend(Silent::after(0));
        exchange(&mut socket).await;
        socket.socket = Silent::after(asks);
        socket
    }

    async fn exchange(socket: &mut Attended<Silent>) {
        socket.write_all(b"?").await.unwrap();
        assert_eq!(socket.read_u8().await.unwrap(), b'x');
    }

    async fn sleeps(socket: &mut Attended<Silent>) -> bool {
        timeout(Duration::from_millis(20), exchange(socket))
            .await
            .is_err()
    }

    #[tokio::test]
    async fn a_quick_peer_is_asked_again_without_being_waited_for() {
        let policy = BusyPoll::on(2, LONG);
        let mut socket = after_a_quick_answer(&policy, 1_000).await;
        let _call = policy.call();
        timeout(LONG, exchange(&mut socket)).await.unwrap();
    }

    #[tokio::test]
    async fn a_peer_that_was_never_quick_is_waited_for() {
        let mut socket = BusyPoll::on(2, LONG).attend(Silent::after(FEW));
        assert!(sleeps(&mut socket).await);
    }

    #[tokio::test]
    async fn a_peer_that_is_slow_once_is_waited_for_the_next_time() {
        let moment = Duration::from_millis(5);
        let policy = BusyPoll::on(2, moment);
        let mut socket = after_a_quick_answer(&policy, u32::MAX).await;
        // Asked for a moment, and not after it.
        assert!(sleeps(&mut socket).await);
        let asked = u32::MAX - socket.socket.left;
        assert!(asked > 1, "asked {asked} times");
        assert!(sleeps(&mut socket).await);
        socket.socket = Silent::after(0);
        tokio::time::sleep(moment).await;
        assert_eq!(socket.read_u8().await.unwrap(), b'x');
        socket.socket = Silent::after(FEW);
        assert!(sleeps(&mut socket).await);
    }

    #[tokio::test]
    async fn nothing_is_polled_with_more_calls_under_way_or_where_it_is_off() {
        let policy = BusyPoll::on(2, LONG);
        let mut socket = after_a_quick_answer(&policy, FEW).await;
        let first = policy.call();
        let second = policy.call();
        assert!(sleeps(&mut socket).await);
        drop((first, second));
        let mut socket = after_a_quick_answer(&policy, FEW).await;
        exchange(&mut socket).await;

        for off in [BusyPoll::on(1, LONG), BusyPoll::on(2, Duration::ZERO)] {
            let mut socket = after_a_quick_answer(&off, FEW).await;
            assert!(sleeps(&mut socket).await);
        }
    }

    #[tokio::test]
    async fn other_tasks_go_on_while_one_polls() {
        let policy = BusyPoll::on(2, LONG);
        let mut socket = after_a_quick_answer(&policy, u32::MAX).await;
        let polling = tokio::spawn(async move { exchange(&mut socket).await });
        // A timer and a socket of this same thread.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let (mut near, mut far) = tokio::net::UnixStream::pair().unwrap();
        near.write_all(b"y").await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'y');
        polling.abort();
    }
}
