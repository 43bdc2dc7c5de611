use crate::error::ProtocolError;
use crate::frame::{Frame, FrameKind};
use crate::log::LogRecord;
use crate::messages::{Claim, Deadline, Exited, ExitedMessage, parse_json};

/// What the agent tells the host on the control stream, after the hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlEvent {
    /// Output of the runtime.
    Log {
        /// The output.
        record: LogRecord,
        /// Bytes of output so far, modulo 2^32, including this.
        mark: u32,
    },
    /// The runtime has ended or could not be started; no output of it follows.
    Exited {
        /// How.
        exited: Exited,
        /// The last call that the runtime was given on its call stream, 0 if none; where the agent does not know, none. A later call never reached it.
        last_call: Option<u32>,
    },
    /// The answer to a PING.
    Pong,
}

impl ControlEvent {
    /// Reads a frame that came from the agent.
    ///
    /// # Errors
    /// The kind does not belong here, or its payload is wrong.
    pub fn parse(frame: Frame) -> Result<Self, ProtocolError> {
        match frame.kind {
            FrameKind::Log => Ok(Self::Log {
                mark: frame.mark,
                record: LogRecord::decode(frame.payload)?,
            }),
            FrameKind::Exited => {
                let ExitedMessage { exited, last_call } = parse_json(frame.kind, &frame.payload)?;
                Ok(Self::Exited { exited, last_call })
            }
            FrameKind::Pong => empty(&frame, Self::Pong),
            kind => Err(ProtocolError::Unexpected {
                kind,
                state: "reading events of the control stream",
            }),
        }
    }
}

/// What the host tells the agent on the control stream, after the hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlCommand {
    /// Start this runtime as soon as a call stream is open.
    Claim(Box<Claim>),
    /// Answer PONG.
    Ping,
    /// Kill the runtime.
    Kill,
    /// Set or clear the deadline.
    Deadline(Deadline),
    /// Close all streams and the socket, and begin again with the next start file: a checkpoint is taken meanwhile.
    Suspend,
}

impl ControlCommand {
    /// Reads a frame that came from the host.
    ///
    /// # Errors
    /// The kind does not belong here, or its payload is wrong.
    pub fn parse(frame: Frame) -> Result<Self, ProtocolError> {
        match frame.kind {
            FrameKind::Claim => Ok(Self::Claim(parse_json(frame.kind, &frame.payload)?)),
            FrameKind::Ping => empty(&frame, Self::Ping),
            FrameKind::Kill => empty(&frame, Self::Kill),
            FrameKind::Deadline => Ok(Self::Deadline(parse_json(frame.kind, &frame.payload)?)),
            FrameKind::Suspend => empty(&frame, Self::Suspend),
            kind => Err(ProtocolError::Unexpected {
                kind,
                state: "reading commands of the control stream",
            }),
        }
    }
}

fn empty<T>(frame: &Frame, value: T) -> Result<T, ProtocolError> {
    match frame.payload.len() {
        0 => Ok(value),
        found => Err(ProtocolError::NotEmpty {
            kind: frame.kind,
            found,
        }),
    }
}
