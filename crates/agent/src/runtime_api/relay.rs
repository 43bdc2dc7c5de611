use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use warren_protocol::{
    FrameKind, HEADER_LEN, Header, INVOKE_PREFIX, InvokeMeta, MAX_PAYLOAD, encode_empty,
    encode_init_error,
};

use crate::descriptors::replace;
use crate::frames::{invalid, read_header};
use crate::output::Output;
use crate::readiness::wait_ready;

/// Most bytes of an INVOKE's meta: client context and identity are a few KiB.
const META_LIMIT: u32 = 256 * 1024;

/// Bytes that are passed on at a time.
pub(crate) const PIECE: usize = 32 * 1024;

/// The agent's side of the call stream of a runtime that does not speak frames.
pub(crate) struct Relay {
    stream: UnixStream,
    output: Arc<Output>,
}

/// A call that has come in, with its body still in the stream.
pub(crate) struct Invocation {
    pub(crate) number: u32,
    meta: Vec<u8>,
    /// Bytes of the current frame that are still in the stream.
    rest: usize,
    /// The current frame is the body's last.
    last: bool,
}

impl Invocation {
    pub(crate) fn meta(&self) -> io::Result<InvokeMeta<'_>> {
        serde_json::from_slice(&self.meta).map_err(|error| invalid(format!("INVOKE meta: {error}")))
    }

    /// Length of the whole body, if it is known before it is read.
    pub(crate) fn body_length(&self) -> Option<usize> {
        self.last.then_some(self.rest)
    }
}

impl Relay {
    pub(crate) fn new(stream: UnixStream, output: Arc<Output>) -> Self {
        Self { stream, output }
    }

    /// Lets the host's stream go, while nothing is read from it or written to it.
    pub(crate) fn let_go(&self) -> io::Result<()> {
        let (end, _) = UnixStream::pair()?;
        replace(&self.stream, &end)
    }

    /// Goes on with another stream.
    pub(crate) fn resume(&self, stream: &UnixStream) -> io::Result<()> {
        replace(&self.stream, stream)
    }

    /// Ends the stream, and every wait on it.
    pub(crate) fn close(&self) {
        // The host may have closed it already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Gives up each later write that the host takes nothing of for so long.
    pub(crate) fn limit_writes(&self, patience: Duration) {
        // It fails only for a time of zero.
        let _ = self.stream.set_write_timeout(Some(patience));
    }

    /// Waits for a call or for the end of `client`, the connection that would get it. `None` at the latter.
    pub(crate) fn wait_for_call(&self, client: &TcpStream) -> io::Result<Option<Invocation>> {
        let mut fds = [
            PollFd::new(&self.stream, PollFlags::IN),
            PollFd::new(client, PollFlags::RDHUP),
        ];
        wait_ready(&mut fds, None)?;
        if !fds[1].revents().is_empty() {
            return Ok(None);
        }
        let mut stream = &self.stream;
        let header = read_header(&mut stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if header.kind != FrameKind::Invoke {
            return Err(invalid(format!("{} in place of INVOKE", header.kind)));
        }
        let mut prefix = [0; INVOKE_PREFIX];
        let after_prefix = header
            .length
            .checked_sub(INVOKE_PREFIX as u32)
            .ok_or_else(|| invalid("short INVOKE"))?;
        stream.read_exact(&mut prefix)?;
        let length = u32::from_le_bytes(prefix);
        let rest = after_prefix
            .checked_sub(length)
            .filter(|_| length <= META_LIMIT);
        let rest = rest.ok_or_else(|| invalid(format!("INVOKE meta of {length} bytes")))? as usize;
        let mut meta = vec![0; length as usize];
        stream.read_exact(&mut meta)?;
        Ok(Some(Invocation {
            number: header.call,
            meta,
            rest,
            last: header.end,
        }))
    }

    /// Reads the next piece of a call's body; 0 at its end.
    pub(crate) fn read_body(
        &self,
        invocation: &mut Invocation,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let mut stream = &self.stream;
        while invocation.rest == 0 {
            if invocation.last {
                return Ok(0);
            }
            let header = read_header(&mut stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if header.kind != FrameKind::Body {
                return Err(invalid(format!("{} in place of BODY", header.kind)));
            }
            invocation.rest = header.length as usize;
            invocation.last = header.end;
        }
        let count = invocation.rest.min(buffer.len());
        stream.read_exact(&mut buffer[..count])?;
        invocation.rest -= count;
        Ok(count)
    }

    pub(crate) fn send_ready(&self) -> io::Result<()> {
        let mut frame = Vec::new();
        encode_empty(&mut frame, FrameKind::Ready);
        self.write(&frame)
    }

    /// Sends INIT_ERROR behind all output that was written before.
    pub(crate) fn send_init_error(&self, error: &[u8]) -> io::Result<()> {
        self.output.drain();
        let mut frame = Vec::new();
        encode_init_error(&mut frame, error);
        self.write(&frame)
    }

    /// Sends a piece of an answer. `frame` has room for the header before it.
    pub(crate) fn send_part(&self, call: u32, frame: &mut [u8]) -> io::Result<()> {
        self.send_response(
            Header {
                call,
                ..Header::new(FrameKind::Response, 0)
            },
            frame,
        )
    }

    /// Sends the last piece of an answer behind all output that was written before. `frame` has room for the header before it.
    pub(crate) fn send_last(&self, call: u32, frame: &mut [u8]) -> io::Result<()> {
        let mark = self.output.drain();
        self.send_response(
            Header {
                call,
                mark,
                end: true,
                ..Header::new(FrameKind::Response, 0)
            },
            frame,
        )
    }

    /// Sends an error as the answer, behind all output that was written before.
    pub(crate) fn send_error(&self, call: u32, error: &[u8]) -> io::Result<()> {
        let mark = self.output.drain();
        let header = Header {
            call,
            mark,
            end: true,
            ..Header::new(FrameKind::Error, error.len() as u32)
        };
        let mut frame = header.encode().to_vec();
        // One write and one wake-up for a usual one; a large one is not copied for that.
        let (first, rest) = error.split_at(error.len().min(PIECE));
        frame.extend_from_slice(first);
        self.write(&frame)?;
        self.write(rest)
    }

    fn send_response(&self, header: Header, frame: &mut [u8]) -> io::Result<()> {
        let length = frame.len() - HEADER_LEN;
        debug_assert!(length <= MAX_PAYLOAD as usize);
        frame[..HEADER_LEN].copy_from_slice(
            &Header {
                length: length as u32,
                ..header
            }
            .encode(),
        );
        self.write(frame)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.stream).write_all(bytes)
    }
}
