//! The host's end of a control stream: commands out, logs and the runtime's end in.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    time::{sleep, timeout},
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
    /// The agent closed its stream, or takes nothing from it.
    Gone,
    /// The agent broke the protocol.
    Broken(ProtocolError),
}

/// Commands that may wait for the agent to read them; one that reads nothing for so long is given up.
const QUEUE: usize = 16;
/// How long one command may take to be written.
const WRITE_TIME: Duration = Duration::from_secs(1);
/// How long the agent may take to answer a PING. Any amount of work in its sandbox delays it by less, unless nothing would get done there anyhow.
const PONG_TIME: Duration = Duration::from_secs(2);
/// Bytes that are kept of the agent's words on why a runtime could not be started.
const MAX_REASON: usize = 1024;

/// Sending never waits: an agent that doesn't read its stream must not hold up the host's own deadlines.
pub(crate) struct Control {
    commands: mpsc::Sender<Vec<u8>>,
    life: watch::Sender<Life>,
    /// PINGs whose answer has not come; one at most.
    unanswered: watch::Sender<u32>,
}

impl Control {
    /// Takes an opened stream; tasks of its own read and write it until it ends.
    pub(crate) fn new(stream: UnixStream, recorder: Arc<Recorder>) -> Arc<Self> {
        let (read, write) = stream.into_split();
        let (commands, queue) = mpsc::channel(QUEUE);
        let control = Arc::new(Self {
            commands,
            life: watch::Sender::new(Life::Running),
            unanswered: watch::Sender::new(0),
        });
        let reader = Arc::clone(&control);
        tokio::spawn(async move {
            let end = match reader.read(read, &recorder).await {
                Ok(()) => Life::Gone,
                Err(error) => {
                    tracing::warn!(log_stream = recorder.log_stream(), %error, "a control stream was broken");
                    Life::Broken(error)
                }
            };
            reader.life.send_replace(end);
        });
        let life = control.life.clone();
        tokio::spawn(async move {
            if write_all(queue, write).await.is_err() {
                lose(&life);
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
            Life::Running | Life::Gone | Life::Broken(_) => false,
        });
        self.send(|out| encode_claim(out, claim));
    }

    /// Asks whether the agent is alive; `false` if it does not say so in time.
    pub(crate) async fn is_alive(&self) -> bool {
        let mut unanswered = self.unanswered.subscribe();
        self.unanswered.send_modify(|count| *count += 1);
        self.send(|out| encode_empty(out, FrameKind::Ping));
        let mut life = self.life();
        tokio::select! {
            biased;
            answered = unanswered.wait_for(|count| *count == 0) => answered.is_ok(),
            _ = life.wait_for(|life| matches!(life, Life::Gone | Life::Broken(_))) => false,
            () = sleep(PONG_TIME) => false,
        }
    }

    /// Kills the runtime.
    pub(crate) fn kill(&self) {
        self.send(|out| encode_empty(out, FrameKind::Kill));
    }

    /// Has the agent let all streams go; this one ends then.
    pub(crate) fn suspend(&self) {
        self.send(|out| encode_empty(out, FrameKind::Suspend));
    }

    /// Has the agent kill the runtime by itself after this many milliseconds; none takes it back.
    pub(crate) fn deadline(&self, call: u32, remaining_ms: Option<u64>) {
        self.send(|out| encode_deadline(out, &Deadline { call, remaining_ms }));
    }

    fn send(&self, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        if self.commands.try_send(bytes).is_err() {
            self.lose();
        }
    }

    fn lose(&self) {
        lose(&self.life);
    }

    /// A PONG is the answer to one PING.
    fn pong(&self) -> Result<(), ProtocolError> {
        let expected = self.unanswered.send_if_modified(|count| {
            let expected = *count > 0;
            *count = count.saturating_sub(1);
            expected
        });
        match expected {
            true => Ok(()),
            false => Err(ProtocolError::Unexpected {
                kind: FrameKind::Pong,
                state: "no PING is on its way",
            }),
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
                            how: shortened(exited),
                            last_call,
                        });
                    }
                    ControlEvent::Pong => self.pong()?,
                }
            }
            match stream.read_buf(decoder.buffer_mut(READ)).await {
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => {}
            }
        }
    }
}

/// Nothing is heard of the runtime any more. What is known of the agent's end stays.
fn lose(life: &watch::Sender<Life>) {
    life.send_if_modified(|life| match life {
        Life::Running | Life::Exited { .. } => {
            *life = Life::Gone;
            true
        }
        Life::Gone | Life::Broken(_) => false,
    });
}

/// The agent's words go to the caller and to the log, so there is an end to them.
fn shortened(exited: Exited) -> Exited {
    match exited {
        Exited::Spawn(mut why) => {
            why.truncate(why.floor_char_boundary(MAX_REASON));
            Exited::Spawn(why)
        }
        other => other,
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
