//! The host's end of a control stream: commands out, logs and the runtime's end in.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    time::timeout,
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
    Exited {
        how: Exited,
        /// The last call that it was given, as far as the agent knows.
        last_call: Option<u32>,
    },
    /// The agent itself is gone or broke the protocol.
    Gone,
}

/// Commands that may wait for the agent to read them; one that reads nothing for so long is given up.
const QUEUE: usize = 16;
/// How long one command may take to be written.
const WRITE_TIME: Duration = Duration::from_secs(1);

/// Sending never waits: an agent that doesn't read its stream must not hold up the host's own deadlines.
pub(crate) struct Control {
    commands: mpsc::Sender<Vec<u8>>,
    life: watch::Sender<Life>,
}

impl Control {
    /// Takes an opened stream; tasks of its own read and write it until it ends.
    pub(crate) fn new(stream: UnixStream, recorder: Arc<Recorder>) -> Arc<Self> {
        let (read, write) = stream.into_split();
        let (commands, queue) = mpsc::channel(QUEUE);
        let control = Arc::new(Self {
            commands,
            life: watch::Sender::new(Life::Running),
        });
        let reader = Arc::clone(&control);
        tokio::spawn(async move {
            if let Err(error) = reader.read(read, &recorder).await {
                tracing::warn!(log_stream = recorder.log_stream(), %error, "a control stream was broken");
            }
            reader.life.send_replace(Life::Gone);
        });
        let life = control.life.clone();
        tokio::spawn(async move {
            if write_all(queue, write).await.is_err() {
                life.send_replace(Life::Gone);
            }
        });
        control
    }

    /// Watches the runtime.
    pub(crate) fn life(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    /// Starts a runtime; the one before must have ended.
    pub(crate) fn claim(&self, claim: &Claim) {
        self.life.send_if_modified(|life| match life {
            Life::Exited { .. } => {
                *life = Life::Running;
                true
            }
            Life::Running | Life::Gone => false,
        });
        self.send(|out| encode_claim(out, claim));
    }

    /// Kills the runtime.
    pub(crate) fn kill(&self) {
        self.send(|out| encode_empty(out, FrameKind::Kill));
    }

    /// Has the agent kill the runtime by itself after this many milliseconds; none takes it back.
    pub(crate) fn deadline(&self, call: u32, remaining_ms: Option<u64>) {
        self.send(|out| encode_deadline(out, &Deadline { call, remaining_ms }));
    }

    fn send(&self, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        if self.commands.try_send(bytes).is_err() {
            self.life.send_replace(Life::Gone);
        }
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
                    ControlEvent::Exited { exited, last_call } => {
                        self.life.send_replace(Life::Exited {
                            how: exited,
                            last_call,
                        });
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

/// Writes commands as they come, each within its time.
async fn write_all(
    mut queue: mpsc::Receiver<Vec<u8>>,
    mut stream: OwnedWriteHalf,
) -> io::Result<()> {
    while let Some(command) = queue.recv().await {
        timeout(WRITE_TIME, stream.write_all(&command)).await??;
    }
    Ok(())
}
