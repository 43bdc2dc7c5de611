use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use crate::readiness::wait_ready;
use crate::stand_in::StandIn;
use crate::threads::lock;

/// Most bytes that are kept for a host that does not read: a cut-off LOG frame and a few answers.
const QUEUE_LIMIT: usize = 256 * 1024;

/// The sending side of the control stream. It never waits longer than its caller allows, and a frame is sent whole or not at all.
pub(crate) struct Outbox {
    stream: UnixStream,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// Bytes of frames that are counted as sent already.
    bytes: Vec<u8>,
    sent: usize,
    /// Nobody has read for the whole patience of a caller: the next ones do not wait until something moves again.
    stalled: bool,
}

enum Attempt {
    Sent,
    Full,
}

impl Outbox {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            queue: Mutex::default(),
        }
    }

    /// The descriptor, to wait for.
    pub(crate) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Lets the host's stream go; what is sent from now on is kept by a socket of the sandbox's own, as much as that takes.
    pub(crate) fn suspend(&self) -> io::Result<StandIn> {
        let _queue = lock(&self.queue);
        StandIn::take_place_of(&self.stream)
    }

    /// Goes on with another stream of the host's, and first with what was kept.
    pub(crate) fn resume(&self, stand_in: StandIn, stream: &UnixStream) -> io::Result<()> {
        {
            let mut queue = lock(&self.queue);
            let mut bytes = stand_in.give_place_to(&self.stream, stream)?;
            bytes.extend_from_slice(&queue.bytes[queue.sent..]);
            queue.bytes = bytes;
            queue.sent = 0;
        }
        self.send(&[], Duration::ZERO);
        Ok(())
    }

    /// Whether bytes wait for the host to read.
    pub(crate) fn is_waiting(&self) -> bool {
        let queue = lock(&self.queue);
        queue.sent < queue.bytes.len()
    }

    /// Sends a frame if the host takes it within `patience`; gives whether. With an empty frame only what waits is sent.
    pub(crate) fn send(&self, frame: &[u8], patience: Duration) -> bool {
        let end = Instant::now() + patience;
        loop {
            let stalled = match self.attempt(frame) {
                Attempt::Sent => return true,
                Attempt::Full => lock(&self.queue).stalled,
            };
            let rest = end.saturating_duration_since(Instant::now());
            if stalled || rest.is_zero() || !self.wait(Some(rest)) {
                lock(&self.queue).stalled = true;
                return false;
            }
        }
    }

    /// Sends a frame now or keeps it for later; drops it if too much is kept already.
    pub(crate) fn send_or_keep(&self, frame: &[u8]) {
        if let Attempt::Full = self.attempt(frame) {
            let mut queue = lock(&self.queue);
            if queue.bytes.len() + frame.len() <= QUEUE_LIMIT {
                queue.bytes.extend_from_slice(frame);
            }
        }
    }

    /// Sends a frame, however long it takes: as long as the stream is open.
    pub(crate) fn send_surely(&self, frame: &[u8]) {
        while let Attempt::Full = self.attempt(frame) {
            self.wait(None);
        }
    }

    /// Sends without waiting. A broken stream counts as sent: its reader sees the end and ends the agent.
    fn attempt(&self, frame: &[u8]) -> Attempt {
        let mut queue = lock(&self.queue);
        while queue.sent < queue.bytes.len() {
            match self.write(&queue.bytes[queue.sent..]) {
                Ok(Some(count)) => queue.sent += count,
                Ok(None) => return Attempt::Full,
                Err(_) => break,
            }
        }
        queue.bytes.clear();
        queue.bytes.shrink_to(MAX_IDLE_QUEUE);
        queue.sent = 0;
        match self.write(frame) {
            Ok(Some(count)) => queue.bytes.extend_from_slice(&frame[count..]),
            Ok(None) => return Attempt::Full,
            Err(_) => {}
        }
        queue.stalled = false;
        Attempt::Sent
    }

    fn write(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        if bytes.is_empty() {
            return Ok(Some(0));
        }
        loop {
            match send(
                &self.stream,
                bytes,
                SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
            ) {
                Ok(count) => return Ok(Some(count)),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn wait(&self, timeout: Option<Duration>) -> bool {
        let mut fds = [PollFd::new(&self.stream, PollFlags::OUT)];
        wait_ready(&mut fds, timeout).is_ok_and(|ready| ready > 0)
    }
}

/// Capacity that the queue keeps while it is empty.
const MAX_IDLE_QUEUE: usize = 4096;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_is_sent_while_there_is_no_host_reaches_the_next() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let outbox = Outbox::new(ours);
        assert!(outbox.send(b"one ", Duration::ZERO));
        let stand_in = outbox.suspend().unwrap();
        let mut first = String::new();
        theirs.read_to_string(&mut first).unwrap();
        assert_eq!(first, "one ", "the stream is closed");
        assert!(outbox.send(b"two ", Duration::ZERO));
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        outbox.resume(stand_in, &ours).unwrap();
        drop(ours);
        assert!(outbox.send(b"three", Duration::ZERO));
        drop(outbox);
        let mut second = String::new();
        theirs.read_to_string(&mut second).unwrap();
        assert_eq!(second, "two three");
    }

    #[test]
    fn sends_whole_frames_or_none() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let outbox = Outbox::new(ours);
        let frame = [7u8; 50_000];
        let mut taken = 0;
        while outbox.send(&frame, Duration::from_millis(20)) {
            taken += 1;
            assert!(taken < 1000, "the socket never filled up");
        }
        // Stalled: no further wait.
        let start = Instant::now();
        assert!(!outbox.send(&frame, Duration::from_secs(60)));
        assert!(start.elapsed() < Duration::from_secs(10));
        outbox.send_or_keep(b"pong");

        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).unwrap();
            all
        });
        outbox.send_surely(b"exited");
        drop(outbox);
        let all = reader.join().unwrap();
        assert_eq!(all.len(), taken * frame.len() + 10);
        assert!(all.ends_with(b"7pongexited") || all.ends_with(b"\x07pongexited"));
    }
}
