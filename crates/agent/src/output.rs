use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::fs::{Mode, OFlags, fchmod, fcntl_setfl};
use rustix::io::{Errno, ioctl_fionread, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use warren_protocol::{OutputStream, encode_log};

use crate::outbox::Outbox;
use crate::readiness::wait_ready;
use crate::report::report;
use crate::threads::lock;

/// How long output waits for a host that does not read the control stream. After that output is dropped and counted: a handler must not
/// hang in `print` because of the host.
pub(crate) const HOST_PATIENCE: Duration = Duration::from_secs(2);

/// How long the pipes are read after the runtime's end: a process that it left behind may hold them open.
const PATIENCE_AFTER_EXIT: Duration = Duration::from_millis(200);

/// Bytes per read: a pipe holds 64 KiB, and most output is a line.
const READ_SIZE: usize = 32 * 1024;

/// A pipe's mode: the runtime's user may open it again for writing (`/dev/stdout` is a name of it), nobody else may read it.
const PIPE_MODE: u32 = 0o622;

const STREAMS: [OutputStream; 2] = [OutputStream::Stdout, OutputStream::Stderr];

/// Standard output and error of one runtime, on their way to the host.
pub(crate) struct Output {
    /// The reading ends, in the order of [`STREAMS`].
    pipes: [OwnedFd; 2],
    exited: OwnedFd,
    outbox: Arc<Outbox>,
    /// How long the host may take for each piece.
    patience: Duration,
    forward: Mutex<Forward>,
}

/// What the forwarding thread waits for.
enum Source {
    Pipe(usize),
    Exited,
    /// Room on the control stream, for what could not be delivered.
    Host,
}

struct Forward {
    open: [bool; 2],
    /// Bytes taken off the pipes, modulo 2^32. Dropped ones count too, as the host would otherwise wait for them after every call.
    mark: u32,
    /// Bytes dropped since the last notice.
    dropped: u64,
    buffer: Vec<u8>,
    frame: Vec<u8>,
}

impl Output {
    /// New pipes; gives their writing ends, standard output first. What the host does not take within `patience` is dropped.
    pub(crate) fn new(outbox: Arc<Outbox>, patience: Duration) -> io::Result<(Self, [OwnedFd; 2])> {
        let [(out_read, out_write), (err_read, err_write)] = [new_pipe()?, new_pipe()?];
        let forward = Forward {
            open: [true; 2],
            mark: 0,
            dropped: 0,
            buffer: vec![0; READ_SIZE],
            frame: Vec::new(),
        };
        let exited = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let output = Self {
            pipes: [out_read, err_read],
            exited,
            outbox,
            patience,
            forward: Mutex::new(forward),
        };
        Ok((output, [out_write, err_write]))
    }

    /// Ends [`pump`](Self::pump) soon: the runtime has exited.
    pub(crate) fn runtime_exited(&self) {
        // Only a counter at its end could refuse this.
        let _ = write(&self.exited, &1u64.to_ne_bytes());
    }

    /// Forwards output until the runtime has exited and both pipes are at their end, or a little later.
    pub(crate) fn pump(&self) {
        let mut end: Option<Instant> = None;
        loop {
            let (open, dropped) = {
                let forward = lock(&self.forward);
                (forward.open, forward.dropped > 0)
            };
            let rest = end.map(|end| end.saturating_duration_since(Instant::now()));
            if end.is_some() && (open == [false; 2] || rest == Some(Duration::ZERO)) {
                return;
            }
            // Only what can still become ready: a pipe at its end is ready for ever.
            let mut asked = Vec::with_capacity(4);
            for (index, pipe) in self.pipes.iter().enumerate() {
                if open[index] {
                    asked.push((Source::Pipe(index), PollFd::new(pipe, PollFlags::IN)));
                }
            }
            if end.is_none() {
                asked.push((Source::Exited, PollFd::new(&self.exited, PollFlags::IN)));
            }
            if dropped || self.outbox.is_waiting() {
                asked.push((
                    Source::Host,
                    PollFd::new(self.outbox.stream(), PollFlags::OUT),
                ));
            }
            let (sources, mut fds): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
            if let Err(error) = wait_ready(&mut fds, rest) {
                report(format_args!("waiting for output: {error}"));
                return;
            }
            for (source, _) in sources
                .iter()
                .zip(&fds)
                .filter(|(_, fd)| !fd.revents().is_empty())
            {
                match source {
                    Source::Pipe(index) => {
                        lock(&self.forward).take(self, *index, READ_SIZE);
                    }
                    Source::Exited => end = Some(Instant::now() + PATIENCE_AFTER_EXIT),
                    Source::Host => {
                        self.outbox.send(&[], Duration::ZERO);
                        lock(&self.forward).announce_dropped(&self.outbox);
                    }
                }
            }
        }
    }

    /// Forwards what is in the pipes now, and not what is written meanwhile. Gives the mark.
    pub(crate) fn drain(&self) -> u32 {
        let mut forward = lock(&self.forward);
        for index in 0..self.pipes.len() {
            let mut present = if forward.open[index] {
                ioctl_fionread(&self.pipes[index]).unwrap_or(0) as usize
            } else {
                0
            };
            while present > 0 {
                match forward.take(self, index, present.min(READ_SIZE)) {
                    0 => break,
                    taken => present -= taken.min(present),
                }
            }
        }
        forward.mark
    }
}

impl Forward {
    /// Reads once and forwards that. Gives the number of bytes; 0 if there were none.
    fn take(&mut self, output: &Output, index: usize, at_most: usize) -> usize {
        let count = match read(&output.pipes[index], &mut self.buffer[..at_most]) {
            Ok(0) => {
                self.open[index] = false;
                return 0;
            }
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return 0,
            Err(_) => {
                self.open[index] = false;
                return 0;
            }
        };
        // What was lost before comes before, also in marks.
        let announced = self.announce_dropped(&output.outbox);
        self.mark = self.mark.wrapping_add(count as u32);
        let delivered = announced && {
            self.frame.clear();
            encode_log(
                &mut self.frame,
                STREAMS[index],
                now_us(),
                &self.buffer[..count],
                self.mark,
            );
            output.outbox.send(&self.frame, output.patience)
        };
        if !delivered {
            self.dropped += count as u64;
        }
        count
    }

    /// Tells how much was dropped, if anything; gives whether nothing is left to tell.
    fn announce_dropped(&mut self, outbox: &Outbox) -> bool {
        if self.dropped == 0 {
            return true;
        }
        let notice = format!(
            "[warren: {} bytes of output dropped: the log could not be delivered]\n",
            self.dropped
        );
        self.frame.clear();
        encode_log(
            &mut self.frame,
            OutputStream::Stderr,
            now_us(),
            notice.as_bytes(),
            self.mark,
        );
        let sent = outbox.send(&self.frame, Duration::ZERO);
        if sent {
            self.dropped = 0;
        }
        sent
    }
}

fn new_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    // Only this end: the runtime's own keeps blocking.
    fcntl_setfl(&reader, OFlags::NONBLOCK)?;
    allow_again(&writer, PIPE_MODE)?;
    Ok((reader, writer))
}

/// Gives a pipe's end this mode, by which the runtime's user may open it again by its name.
pub(crate) fn allow_again(end: &OwnedFd, mode: u32) -> io::Result<()> {
    match fchmod(end, Mode::from_bits_truncate(mode)) {
        // gVisor's pipes have a mode that nobody can change: there `/dev/stdout` can't be opened again.
        Ok(()) | Err(Errno::PERM) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as u64)
}
