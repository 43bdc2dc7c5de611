use bytes::Bytes;

use crate::encode::encode_header;
use crate::error::ProtocolError;
use crate::frame::{FrameKind, HEADER_LEN, Header};

/// Most output bytes of one LOG frame.
pub const MAX_LOG_OUTPUT: usize = 65_536;

/// Bytes before the output in a LOG payload: stream and time.
pub const LOG_PREFIX: usize = 9;

/// Which of its outputs the runtime wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OutputStream {
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
}

/// The payload of a LOG frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Where the runtime wrote it.
    pub stream: OutputStream,
    /// When the agent read it, in microseconds since the epoch, by the sandbox's clock.
    pub time_us: u64,
    /// The bytes as read, not cut at lines.
    pub output: Bytes,
}

impl LogRecord {
    /// Reads a LOG payload without copying it.
    ///
    /// # Errors
    /// The payload is too short, names an unknown stream or carries more than [`MAX_LOG_OUTPUT`] bytes.
    pub fn decode(mut payload: Bytes) -> Result<Self, ProtocolError> {
        let Some(&[stream, ref time @ ..]) = payload.first_chunk::<LOG_PREFIX>() else {
            return Err(ProtocolError::TooShort {
                kind: FrameKind::Log,
                found: payload.len(),
                needed: LOG_PREFIX,
            });
        };
        let stream = match stream {
            1 => OutputStream::Stdout,
            2 => OutputStream::Stderr,
            found => return Err(ProtocolError::OutputStream { found }),
        };
        let time_us = u64::from_le_bytes(*time);
        let output = payload.split_off(LOG_PREFIX);
        if output.len() > MAX_LOG_OUTPUT {
            return Err(ProtocolError::LogTooLong {
                found: output.len(),
            });
        }
        Ok(Self {
            stream,
            time_us,
            output,
        })
    }
}

/// Appends a LOG frame. `mark`: bytes of output so far, including these.
///
/// # Panics
/// `output` is longer than [`MAX_LOG_OUTPUT`].
pub fn encode_log(out: &mut Vec<u8>, stream: OutputStream, time_us: u64, output: &[u8], mark: u32) {
    assert!(
        output.len() <= MAX_LOG_OUTPUT,
        "{} output bytes do not fit into a LOG frame",
        output.len()
    );
    out.reserve(HEADER_LEN + LOG_PREFIX + output.len());
    let length = (LOG_PREFIX + output.len()) as u32;
    encode_header(
        out,
        Header {
            mark,
            ..Header::new(FrameKind::Log, length)
        },
    );
    out.push(stream as u8);
    out.extend_from_slice(&time_us.to_le_bytes());
    out.extend_from_slice(output);
}
