//! The host's end of a call stream: one call at a time, every frame of the runtime taken as hostile.

use std::io;

use bytes::{Bytes, BytesMut};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};
use warren_model::limits::MAX_SYNC_RESPONSE;
use warren_protocol::{
    CallEvent, CallStream, Decoder, Init, InvokeMeta, ProtocolError, encode_body, encode_init,
    encode_invoke_head,
};

use crate::{BusyPoll, BusyPolled};

/// Bytes to make room for at each read; a usual answer fits.
const READ: usize = 16 << 10;
/// Bytes of a body that are gathered before they are written.
const WRITE: usize = 256 << 10;

/// The stream can't be used any more.
#[derive(Debug, Error)]
pub(crate) enum ChannelError {
    /// The runtime closed it: usually its process has ended.
    #[error("the runtime closed the call stream")]
    Closed,
    /// The runtime closed it before it had read all that was sent.
    #[error("the runtime closed the call stream unread")]
    Unread,
    #[error("the call stream failed")]
    Io(#[source] io::Error),
    #[error("the runtime broke the protocol")]
    Protocol(#[from] ProtocolError),
    /// The answer is longer than it may be, and the runtime did not say so itself.
    #[error("the answer is longer than {MAX_SYNC_RESPONSE} bytes")]
    TooLarge,
}

impl From<io::Error> for ChannelError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // Nothing is written to whom has closed; unix(7): a reset means bytes that nobody read.
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Unread,
            _ => Self::Io(error),
        }
    }
}

/// What the runtime answered.
#[derive(Debug)]
pub(crate) enum Reply {
    Answer(Bytes),
    Error(Bytes),
}

pub(crate) struct CallChannel {
    stream: BusyPolled<UnixStream>,
    decoder: Decoder,
    state: CallStream,
    out: Vec<u8>,
}

impl CallChannel {
    pub(crate) fn new(stream: UnixStream, busy_poll: &BusyPoll) -> Self {
        Self {
            stream: busy_poll.runtime(stream),
            decoder: Decoder::new(),
            state: CallStream::new(),
            out: Vec::new(),
        }
    }

    /// A runtime is started ahead on it: waits until that waits for INIT.
    pub(crate) async fn standby(&mut self) -> Result<(), ChannelError> {
        self.state = CallStream::ahead();
        match self.event().await? {
            CallEvent::Standby => Ok(()),
            // The state machine lets nothing else pass.
            _ => Err(ChannelError::Closed),
        }
    }

    /// A runtime was restored, and waits for INIT on this new stream.
    pub(crate) fn restored(&mut self) {
        self.state = CallStream::restored();
    }

    /// Tells a runtime that waits whose it becomes; the end of Init follows.
    pub(crate) async fn init(&mut self, init: &Init) -> Result<(), ChannelError> {
        if !self.state.init() {
            return Err(ChannelError::Closed);
        }
        self.out.clear();
        encode_init(&mut self.out, init);
        Ok(self.stream.write_all(&self.out).await?)
    }

    /// Waits for the end of Init: `Err` in the inner result is the runtime's error object.
    pub(crate) async fn ready(&mut self) -> Result<Result<(), Bytes>, ChannelError> {
        match self.event().await? {
            CallEvent::Ready => Ok(Ok(())),
            CallEvent::InitError(error) => Ok(Err(error)),
            // The state machine lets nothing else pass before READY.
            _ => Err(ChannelError::Closed),
        }
    }

    /// Sends one call and waits for its answer; gives the answer and its output mark. Not cancel-safe: a call that was given up leaves the stream unusable.
    pub(crate) async fn call(
        &mut self,
        meta: &InvokeMeta<'_>,
        body: &[u8],
    ) -> Result<(Reply, u32), ChannelError> {
        let number = self.state.begin().ok_or(ChannelError::Closed)?;
        self.out.clear();
        let first = encode_invoke_head(&mut self.out, number, meta, body.len());
        self.out.extend_from_slice(&body[..first.min(WRITE)]);
        self.stream.write_all(&self.out).await?;
        if first > WRITE {
            self.stream.write_all(&body[WRITE..first]).await?;
        }
        if first < body.len() {
            self.out.clear();
            encode_body(&mut self.out, &body[first..]);
            self.stream.write_all(&self.out).await?;
        }
        if self.out.capacity() > 2 * WRITE {
            self.out = Vec::new();
        }
        let mut parts = BytesMut::new();
        loop {
            match self.event().await? {
                CallEvent::Answer { body, mark } if parts.is_empty() => {
                    return Ok((Reply::Answer(within_limit(body)?), mark));
                }
                CallEvent::Answer { body, mark } => {
                    append(&mut parts, &body)?;
                    return Ok((Reply::Answer(parts.freeze()), mark));
                }
                CallEvent::Part(body) => append(&mut parts, &body)?,
                CallEvent::Error { error, mark } => return Ok((Reply::Error(error), mark)),
                // The state machine lets neither pass during a call.
                CallEvent::Standby | CallEvent::Ready | CallEvent::InitError(_) => {
                    return Err(ChannelError::Closed);
                }
            }
        }
    }

    /// Number of the last call that was begun; 0 before the first.
    pub(crate) fn last_call(&self) -> u32 {
        self.state.last_call()
    }

    /// Waits while the stream is idle: returns when the runtime closes it or says something, which it must not.
    pub(crate) async fn closed(&mut self) -> ChannelError {
        match self.event().await {
            Ok(_) => ChannelError::Closed,
            Err(error) => error,
        }
    }

    async fn event(&mut self) -> Result<CallEvent, ChannelError> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(self.state.accept(frame)?);
            }
            if self.stream.read_buf(self.decoder.buffer_mut(READ)).await? == 0 {
                return Err(ChannelError::Closed);
            }
        }
    }
}

fn within_limit(body: Bytes) -> Result<Bytes, ChannelError> {
    match body.len() <= MAX_SYNC_RESPONSE {
        true => Ok(body),
        false => Err(ChannelError::TooLarge),
    }
}

fn append(parts: &mut BytesMut, piece: &[u8]) -> Result<(), ChannelError> {
    if parts.len() + piece.len() > MAX_SYNC_RESPONSE {
        return Err(ChannelError::TooLarge);
    }
    parts.extend_from_slice(piece);
    Ok(())
}
