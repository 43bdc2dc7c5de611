use std::fmt;

use bytes::Bytes;

use crate::error::ProtocolError;

/// Bytes of a frame header.
pub const HEADER_LEN: usize = 16;

/// Most payload bytes of one frame. Larger bodies are cut into several frames.
pub const MAX_PAYLOAD: u32 = 1_048_576;

/// Flag bit 0: last frame of this body.
const FLAG_END: u8 = 1;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// Opens a stream, host to agent.
    Hello = 0x01,
    /// Answers HELLO, agent to host.
    Welcome = 0x02,
    /// Tells the agent what to run.
    Claim = 0x10,
    /// Output of the runtime.
    Log = 0x20,
    /// The runtime has ended or could not be started.
    Exited = 0x21,
    /// Asks whether the agent is alive.
    Ping = 0x30,
    /// Answers PING.
    Pong = 0x31,
    /// Kills the runtime.
    Kill = 0x40,
    /// Sets or clears the time at which the agent kills the runtime by itself.
    Deadline = 0x42,
    /// Tells the agent to close its streams and to wait for another start file.
    Suspend = 0x43,
    /// Init is over.
    Ready = 0x50,
    /// Init has failed.
    InitError = 0x51,
    /// A runtime that was started ahead waits for INIT.
    Standby = 0x52,
    /// Tells a runtime that was started ahead whose it becomes.
    Init = 0x53,
    /// A call: meta and first body bytes.
    Invoke = 0x60,
    /// Further body bytes of a call.
    Body = 0x61,
    /// Answer bytes.
    Response = 0x70,
    /// The answer is an error.
    Error = 0x71,
}

impl FrameKind {
    /// The kind of the given byte, or `None` if this version has none such.
    #[inline]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::Hello,
            0x02 => Self::Welcome,
            0x10 => Self::Claim,
            0x20 => Self::Log,
            0x21 => Self::Exited,
            0x30 => Self::Ping,
            0x31 => Self::Pong,
            0x40 => Self::Kill,
            0x42 => Self::Deadline,
            0x43 => Self::Suspend,
            0x50 => Self::Ready,
            0x51 => Self::InitError,
            0x52 => Self::Standby,
            0x53 => Self::Init,
            0x60 => Self::Invoke,
            0x61 => Self::Body,
            0x70 => Self::Response,
            0x71 => Self::Error,
            _ => return None,
        })
    }

    /// Whether frames of this kind carry a call number.
    #[inline]
    pub fn has_call(self) -> bool {
        matches!(self, Self::Invoke | Self::Response | Self::Error)
    }

    /// Whether frames of this kind carry an output mark.
    #[inline]
    pub fn has_mark(self) -> bool {
        matches!(self, Self::Log | Self::Response | Self::Error)
    }
}

impl fmt::Display for FrameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello => "HELLO",
            Self::Welcome => "WELCOME",
            Self::Claim => "CLAIM",
            Self::Log => "LOG",
            Self::Exited => "EXITED",
            Self::Ping => "PING",
            Self::Pong => "PONG",
            Self::Kill => "KILL",
            Self::Deadline => "DEADLINE",
            Self::Suspend => "SUSPEND",
            Self::Ready => "READY",
            Self::InitError => "INIT_ERROR",
            Self::Standby => "STANDBY",
            Self::Init => "INIT",
            Self::Invoke => "INVOKE",
            Self::Body => "BODY",
            Self::Response => "RESPONSE",
            Self::Error => "ERROR",
        })
    }
}

/// The 16 bytes before each payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Payload bytes that follow, at most [`MAX_PAYLOAD`].
    pub length: u32,
    /// What the frame is.
    pub kind: FrameKind,
    /// Whether this is the last frame of its body.
    pub end: bool,
    /// Number of the call on this stream, from 1; 0 on kinds that belong to no call.
    pub call: u32,
    /// Bytes of output so far, modulo 2^32; 0 on kinds without a mark.
    pub mark: u32,
}

impl Header {
    /// A header of the given kind and payload length, without `END`, call and mark.
    pub fn new(kind: FrameKind, length: u32) -> Self {
        Self {
            length,
            kind,
            end: false,
            call: 0,
            mark: 0,
        }
    }

    /// The header's bytes.
    #[inline]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4] = self.kind as u8;
        bytes[5] = if self.end { FLAG_END } else { 0 };
        bytes[8..12].copy_from_slice(&self.call.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.mark.to_le_bytes());
        bytes
    }

    /// Reads a header.
    ///
    /// # Errors
    /// The length is over [`MAX_PAYLOAD`], the kind is unknown, a reserved bit is set, call or mark are set on a kind that has none, the
    /// call is 0 on a kind that has one, or an ERROR is without `END`.
    #[inline]
    pub fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, ProtocolError> {
        let [
            l0,
            l1,
            l2,
            l3,
            kind,
            flags,
            r0,
            r1,
            c0,
            c1,
            c2,
            c3,
            m0,
            m1,
            m2,
            m3,
        ] = *bytes;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let reserved = u16::from_le_bytes([r0, r1]);
        let call = u32::from_le_bytes([c0, c1, c2, c3]);
        let mark = u32::from_le_bytes([m0, m1, m2, m3]);
        let kind = FrameKind::from_byte(kind).ok_or(ProtocolError::UnknownKind { found: kind })?;
        if length > MAX_PAYLOAD {
            return Err(ProtocolError::TooLong { found: length });
        }
        if flags & !FLAG_END != 0 {
            return Err(ProtocolError::ReservedFlags { found: flags });
        }
        if reserved != 0 {
            return Err(ProtocolError::ReservedField { found: reserved });
        }
        if (call != 0) != kind.has_call() {
            return Err(ProtocolError::CallNumber { kind, found: call });
        }
        if mark != 0 && !kind.has_mark() {
            return Err(ProtocolError::Mark { kind, found: mark });
        }
        let end = flags & FLAG_END != 0;
        if kind == FrameKind::Error && !end {
            return Err(ProtocolError::MissingEnd { kind });
        }
        Ok(Self {
            length,
            kind,
            end,
            call,
            mark,
        })
    }
}

/// One frame as it came off a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What the frame is.
    pub kind: FrameKind,
    /// Whether this is the last frame of its body.
    pub end: bool,
    /// Number of the call on this stream, from 1; 0 on kinds that belong to no call.
    pub call: u32,
    /// Bytes of output so far, modulo 2^32; 0 on kinds without a mark.
    pub mark: u32,
    /// The payload. It shares the buffer that the bytes were received in.
    pub payload: Bytes,
}

impl Frame {
    /// Joins a header and its payload.
    pub fn new(header: Header, payload: Bytes) -> Self {
        let Header {
            kind,
            end,
            call,
            mark,
            ..
        } = header;
        Self {
            kind,
            end,
            call,
            mark,
            payload,
        }
    }
}
