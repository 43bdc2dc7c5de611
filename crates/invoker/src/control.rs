//! The host's end of a control stream: commands out, logs and the runtime's end in.

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex, watch},
};
use warren_protocol::{
    Claim, ControlEvent, Deadline, Decoder, Exited, FrameKind, ProtocolError, encode_claim,
    encode_deadline, encode_empty,
};

use crate::recorder::Recorder;

/// Bytes to make room for at each read.
const READ: usize = 16 << 10;

/// What the agent says of the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Life {
    /// Started or about to be.
    Running,
    /// Its process has ended, or could not be started.
    Exited(Exited),
    /// The agent itself is gone or broke the protocol.
    Gone,
}

pub(crate) struct Control {
    write: Mutex<OwnedWriteHalf>,
    life: watch::Sender<Life>,
}

impl Control {
    /// Takes an opened stream; a task of its own reads it until it ends.
    pub(crate) fn new(stream: UnixStream, recorder: Arc<Recorder>) -> Arc<Self> {
        let (read, write) = stream.into_split();
        let control = Arc::new(Self {
            write: Mutex::new(write),
            life: watch::Sender::new(Life::Running),
        });
        let reader = Arc::clone(&control);
        tokio::spawn(async move {
            if let Err(error) = reader.read(read, &recorder).await {
                tracing::warn!(log_stream = recorder.log_stream(), %error, "a control stream was broken");
            }
            reader.life.send_replace(Life::Gone);
        });
        control
    }

    /// Watches the runtime.
    pub(crate) fn life(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    /// Starts a runtime; the one before must have ended.
    pub(crate) async fn claim(&self, claim: &Claim) -> io::Result<()> {
        self.life.send_if_modified(|life| match life {
            Life::Exited(_) => {
                *life = Life::Running;
                true
            }
            Life::Running | Life::Gone => false,
        });
        self.send(|out| encode_claim(out, claim)).await
    }

    /// Kills the runtime.
    pub(crate) async fn kill(&self) -> io::Result<()> {
        self.send(|out| encode_empty(out, FrameKind::Kill)).await
    }

    /// Has the agent kill the runtime by itself after this many milliseconds; none takes it back.
    pub(crate) async fn deadline(&self, call: u32, remaining_ms: Option<u64>) -> io::Result<()> {
        self.send(|out| encode_deadline(out, &Deadline { call, remaining_ms }))
            .await
    }

    async fn send(&self, encode: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        self.write.lock().await.write_all(&bytes).await
    }

    async fn read(
        &self,
        mut stream: OwnedReadHalf,
        recorder: &Recorder,
    ) -> Result<(), ProtocolError> {
        let mut decoder = Decoder::new();
        loop {
            while let Some(frame) = decoder.next_frame()? {
                match ControlEvent::parse(frame)? {
                    ControlEvent::Log { record, mark } => recorder.output(&record, mark),
                    ControlEvent::Exited(exited) => {
                        self.life.send_replace(Life::Exited(exited));
                    }
                    ControlEvent::Pong => {}
                }
            }
            match stream.read_buf(decoder.buffer_mut(READ)).await {
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => {}
            }
        }
    }
}
