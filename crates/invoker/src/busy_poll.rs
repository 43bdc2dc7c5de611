//! Busy polling: a thread that expects the next message at once asks for it again and again for a moment, instead of going to sleep.
//!
//! Waking a sleeping thread costs more than all else that a short call does here (`docs/decisions/0004-busy-polling.md`). Processor time is spent only
//! where it pays: on a peer that was that quick the last time, while no other request is under way and no other socket has news.

use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// Whether, and how long, to poll; clones belong together.
#[derive(Debug, Clone)]
pub struct BusyPoll {
    moment: Duration,
    traffic: Arc<Traffic>,
}

/// What goes on at all sockets.
#[derive(Debug, Default)]
struct Traffic {
    /// Messages so far, in and out.
    messages: AtomicU64,
    /// Callers that have sent something and got no answer yet.
    requests: AtomicUsize,
    /// Waits that polled and got their message within the moment, and those that did not.
    won: AtomicU64,
    lost: AtomicU64,
}

/// How polling went so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BusyPolls {
    /// Waits that polled until their message came.
    pub won: u64,
    /// Waits that polled in vain.
    pub lost: u64,
}

/// Who is at the other end of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    Caller,
    Runtime,
}

impl BusyPoll {
    /// Polls at most this long for one message; never if that is zero.
    pub fn new(moment: Duration) -> Self {
        Self {
            moment,
            traffic: Arc::default(),
        }
    }

    /// Puts a caller's connection under this policy.
    pub fn caller<S>(&self, socket: S) -> BusyPolled<S> {
        self.socket(socket, Peer::Caller)
    }

    /// Puts a runtime's call stream under this policy.
    pub fn runtime<S>(&self, socket: S) -> BusyPolled<S> {
        self.socket(socket, Peer::Runtime)
    }

    /// How polling went so far.
    pub fn polls(&self) -> BusyPolls {
        BusyPolls {
            won: self.traffic.won.load(Ordering::Relaxed),
            lost: self.traffic.lost.load(Ordering::Relaxed),
        }
    }

    fn socket<S>(&self, socket: S, peer: Peer) -> BusyPolled<S> {
        BusyPolled {
            socket,
            policy: self.clone(),
            peer,
            written: None,
            peer_was_quick: false,
            polled: false,
            request: None,
        }
    }

    /// Whether a wait of this length lets expect that the next message comes within the moment. A wait asleep contains the waking up, which polling saves.
    fn was_quick(&self, waited: Duration, polled: bool) -> bool {
        waited < self.moment * if polled { 1 } else { 2 }
    }

    /// Counts a message, and gives its number.
    fn message(&self) -> u64 {
        self.traffic.messages.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Whether there was no message after this one, and there is no request but the one that the peer itself works for.
    fn is_calm_since(&self, message: u64, peer: Peer) -> bool {
        let own = match peer {
            Peer::Caller => 0,
            Peer::Runtime => 1,
        };
        self.traffic.messages.load(Ordering::Relaxed) == message
            && self.traffic.requests.load(Ordering::Relaxed) <= own
    }
}

/// A request without an answer so far.
#[derive(Debug)]
struct Request(Arc<Traffic>);

impl Request {
    fn begin(traffic: &Arc<Traffic>) -> Self {
        traffic.requests.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(traffic))
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket whose reader polls for a moment after each write.
#[derive(Debug)]
pub struct BusyPolled<S> {
    socket: S,
    policy: BusyPoll,
    peer: Peer,
    /// The latest write and its number, until something is read.
    written: Option<(Instant, u64)>,
    /// The best guess for the peer's next message is its latest one; a wrong guess costs one moment.
    peer_was_quick: bool,
    /// Whether the present wait was, in part, awake.
    polled: bool,
    /// What a caller waits for.
    request: Option<Request>,
}

impl<S> BusyPolled<S> {
    fn is_off(&self) -> bool {
        self.policy.moment.is_zero()
    }

    fn wrote(&mut self) {
        if self.is_off() {
            return;
        }
        self.request = None;
        self.written = Some((Instant::now(), self.policy.message()));
        self.polled = false;
    }

    fn heard(&mut self) {
        if self.is_off() {
            return;
        }
        if let Some((written, _)) = self.written.take() {
            let waited = written.elapsed();
            self.peer_was_quick = self.policy.was_quick(waited, self.polled);
            if self.polled {
                let traffic = &self.policy.traffic;
                let in_time = waited < self.policy.moment;
                let count = if in_time { &traffic.won } else { &traffic.lost };
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        if self.peer == Peer::Caller && self.request.is_none() {
            self.request = Some(Request::begin(&self.policy.traffic));
        }
        self.policy.message();
    }

    /// Whether the reader is to be called again without being woken.
    fn polls(&mut self) -> bool {
        let Some((written, message)) = self.written else {
            return false;
        };
        let polls = self.peer_was_quick
            && self.policy.is_calm_since(message, self.peer)
            && written.elapsed() < self.policy.moment;
        self.polled |= polls;
        polls
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BusyPolled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.socket).poll_read(context, buffer);
        if outcome.is_ready() {
            self.heard();
        } else if self.polls() {
            // Besides the socket's own waking, which is arranged for already: calls this task again after other tasks, timers and sockets were looked at.
            let _ = pin!(tokio::task::yield_now()).poll(context);
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BusyPolled<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(context, bytes);
        if matches!(outcome, Poll::Ready(Ok(_))) {
            self.wrote();
        }
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        if matches!(outcome, Poll::Ready(Ok(_))) {
            self.wrote();
        }
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
    use std::sync::Mutex;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::{sleep, timeout},
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    /// More than the looks at the beginning and the end of a wait, and the one that is under way when the moment ends.
    const FEW: usize = 10;

    /// A peer that never wakes its reader, and has a byte for whoever asks often enough.
    #[derive(Default)]
    struct Silent {
        needs: usize,
        asked: Arc<Mutex<Vec<Instant>>>,
    }

    impl Silent {
        fn asked(&self) -> usize {
            self.asked.lock().unwrap().len()
        }
    }

    impl AsyncRead for Silent {
        fn poll_read(
            self: Pin<&mut Self>,
            _context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.asked.lock().unwrap().push(Instant::now());
            if self.asked() <= self.needs {
                return Poll::Pending;
            }
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

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            _context: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn exchange(socket: &mut BusyPolled<Silent>) {
        socket.write_all(b"?").await.unwrap();
        assert_eq!(socket.read_u8().await.unwrap(), b'x');
    }

    /// A runtime that answered at once, and whose next answer is for who asks this often.
    async fn after_a_quick_answer(policy: &BusyPoll, needs: usize) -> BusyPolled<Silent> {
        let mut socket = policy.runtime(Silent::default());
        exchange(&mut socket).await;
        socket.socket.needs = needs;
        socket.socket.asked.lock().unwrap().clear();
        socket
    }

    /// Whether an answer comes to who asks [`FEW`] times, which takes a reader that is not waited for.
    async fn is_polled(socket: &mut BusyPolled<Silent>) -> bool {
        socket.socket.needs = FEW;
        socket.socket.asked.lock().unwrap().clear();
        timeout(Duration::from_millis(100), exchange(socket))
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn a_quick_peer_is_asked_again_without_being_waited_for() {
        let policy = BusyPoll::new(LONG);
        let mut socket = after_a_quick_answer(&policy, 1_000).await;
        timeout(LONG, exchange(&mut socket)).await.unwrap();
        assert_eq!(policy.polls(), BusyPolls { won: 1, lost: 0 });

        let mut socket = policy.runtime(Silent::default());
        assert!(!is_polled(&mut socket).await, "it was never quick");
    }

    #[tokio::test]
    async fn nothing_is_asked_after_the_moment() {
        let moment = Duration::from_millis(100);
        let policy = BusyPoll::new(moment);
        let mut socket = after_a_quick_answer(&policy, usize::MAX).await;
        // A machine that stood still for that long meanwhile has seen no quick answer.
        socket.peer_was_quick = true;
        let begin = Instant::now();
        let wait = timeout(moment * 5, exchange(&mut socket)).await;
        assert!(wait.is_err());
        let asked = socket.socket.asked.lock().unwrap().clone();
        let late = asked.iter().filter(|at| **at > begin + moment).count();
        assert!(asked.len() > FEW, "asked {} times", asked.len());
        assert!(late <= FEW, "asked {late} times too late");
        // The answer came too late, so the next is waited for.
        socket.socket.needs = 0;
        assert_eq!(socket.read_u8().await.unwrap(), b'x');
        assert_eq!(policy.polls(), BusyPolls { won: 0, lost: 1 });
        assert!(!is_polled(&mut socket).await);
    }

    #[test]
    fn waking_up_is_not_the_peers_fault() {
        let policy = BusyPoll::new(Duration::from_micros(100));
        for (waited_us, polled, quick) in [
            (99, true, true),
            (100, true, false),
            (199, false, true),
            (200, false, false),
        ] {
            let waited = Duration::from_micros(waited_us);
            assert_eq!(
                policy.was_quick(waited, polled),
                quick,
                "{waited_us} {polled}"
            );
        }
    }

    #[tokio::test]
    async fn nothing_is_polled_while_others_have_work_or_where_it_is_off() {
        let policy = BusyPoll::new(LONG);
        let mut runtime = after_a_quick_answer(&policy, 0).await;
        let mut first = policy.caller(Silent::default());
        let mut second = policy.caller(Silent::default());
        assert_eq!(first.read_u8().await.unwrap(), b'x');
        assert!(is_polled(&mut runtime).await, "its own request");
        assert_eq!(second.read_u8().await.unwrap(), b'x');
        assert!(!is_polled(&mut runtime).await, "another request");
        drop(second);
        runtime.socket.needs = 0;
        exchange(&mut runtime).await;
        assert!(is_polled(&mut runtime).await);

        // A caller's own request is over when it is answered.
        exchange(&mut first).await;
        assert!(is_polled(&mut first).await);
        let mut other = policy.caller(Silent::default());
        assert_eq!(other.read_u8().await.unwrap(), b'x');
        first.socket.needs = 0;
        exchange(&mut first).await;
        assert!(!is_polled(&mut first).await);

        let off = BusyPoll::new(Duration::ZERO);
        let mut socket = after_a_quick_answer(&off, 0).await;
        assert!(!is_polled(&mut socket).await);
    }

    #[tokio::test]
    async fn only_the_latest_writer_polls() {
        let policy = BusyPoll::new(LONG);
        let mut first = after_a_quick_answer(&policy, usize::MAX).await;
        let mut second = after_a_quick_answer(&policy, usize::MAX).await;
        assert_eq!(
            first.write_vectored(&[IoSlice::new(b"?")]).await.unwrap(),
            1
        );
        let message = first.written.unwrap().1;
        assert!(policy.is_calm_since(message, Peer::Runtime));
        assert!(first.polls());
        second.write_all(b"?").await.unwrap();
        assert!(!first.polls());
        assert!(second.polls());
    }

    #[tokio::test]
    async fn other_tasks_timers_and_sockets_come_first() {
        let policy = BusyPoll::new(LONG);
        let mut socket = after_a_quick_answer(&policy, usize::MAX).await;
        let asked = Arc::clone(&socket.socket.asked);
        let polling = tokio::spawn(async move { exchange(&mut socket).await });
        sleep(Duration::from_millis(5)).await;
        let (mut near, mut far) = tokio::net::UnixStream::pair().unwrap();
        near.write_all(b"y").await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'y');
        assert!(asked.lock().unwrap().len() > FEW, "nothing polled");

        // Two tasks with work for each other, which never wait for a socket.
        let before = asked.lock().unwrap().len();
        const TURNS: usize = 10_000;
        let (there, mut arrives) = tokio::sync::mpsc::unbounded_channel();
        let (back, mut returns) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while arrives.recv().await.is_some() {
                let _ = back.send(());
            }
        });
        let turns = async move {
            for _ in 0..TURNS {
                there.send(()).unwrap();
                returns.recv().await.unwrap();
            }
        };
        tokio::spawn(turns).await.unwrap();
        let asked = asked.lock().unwrap().len() - before;
        assert!(
            asked < TURNS / 4,
            "asked {asked} times within {TURNS} turns"
        );
        polling.abort();
    }
}
