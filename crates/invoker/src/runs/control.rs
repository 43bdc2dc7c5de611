//! The control stream of a run: the claim, the program's standard error and its end. Everything that comes is taken as hostile.

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use warren_protocol::{
    Claim, ControlEvent, Decoder, Exited, FrameKind, OutputStream, ProtocolError, encode_claim,
    encode_empty,
};

/// Bytes to make room for at each read.
const READ: usize = 64 << 10;

/// What the agent says.
#[derive(Debug)]
pub(super) enum News {
    /// Bytes of the standard error.
    Stderr(Bytes),
    /// The program ended, or could not be started.
    Exited(Exited),
    /// The agent is gone.
    Gone,
    /// The agent broke the protocol.
    Broken(ProtocolError),
}

/// The reading half.
pub(super) struct Listener {
    stream: OwnedReadHalf,
    decoder: Decoder,
}

/// The writing half.
pub(super) struct Commands(OwnedWriteHalf);

/// Parts a control stream whose hello is over.
pub(super) fn split(stream: UnixStream) -> (Listener, Commands) {
    let (read, write) = stream.into_split();
    let listener = Listener {
        stream: read,
        decoder: Decoder::new(),
    };
    (listener, Commands(write))
}

impl Listener {
    /// Waits for the next news. Cancel-safe.
    pub(super) async fn next(&mut self) -> News {
        match self.read().await {
            Ok(news) => news,
            Err(error) => News::Broken(error),
        }
    }

    async fn read(&mut self) -> Result<News, ProtocolError> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return news(ControlEvent::parse(frame)?);
            }
            match self.stream.read_buf(self.decoder.buffer_mut(READ)).await {
                Ok(0) | Err(_) => return Ok(News::Gone),
                Ok(_) => {}
            }
        }
    }
}

fn news(event: ControlEvent) -> Result<News, ProtocolError> {
    match event {
        ControlEvent::Log { record, .. } => match record.stream {
            OutputStream::Stderr => Ok(News::Stderr(record.output)),
            // It goes over the call stream.
            OutputStream::Stdout => Err(ProtocolError::OutputStream {
                found: OutputStream::Stdout as u8,
            }),
        },
        ControlEvent::Exited { exited, .. } => Ok(News::Exited(exited)),
        // None was asked for.
        ControlEvent::Pong => Err(ProtocolError::Unexpected {
            kind: FrameKind::Pong,
            state: "no PING is on its way",
        }),
    }
}

impl Commands {
    /// Starts the program.
    pub(super) async fn claim(&mut self, claim: &Claim) -> std::io::Result<()> {
        let mut frame = Vec::new();
        encode_claim(&mut frame, claim);
        self.0.write_all(&frame).await
    }

    /// Kills the program and all that it has started.
    pub(super) async fn kill(&mut self) -> std::io::Result<()> {
        let mut frame = Vec::new();
        encode_empty(&mut frame, FrameKind::Kill);
        self.0.write_all(&frame).await
    }
}
