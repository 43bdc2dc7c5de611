use bytes::{Buf, BytesMut};

use crate::error::ProtocolError;
use crate::frame::{Frame, HEADER_LEN, Header};

/// Cuts a byte stream into frames: push bytes as they come, take frames until there are none.
///
/// A payload is never copied out: a [`Frame`] shares the buffer that was read into. The first error stays: whatever follows on a broken
/// stream is not looked at.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    /// The header of the frame whose payload is still incomplete.
    header: Option<Header>,
    broken: Option<ProtocolError>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The buffer to receive into directly (`AsyncReadExt::read_buf`), with room for what the next frame lacks and at least
    /// `at_least` bytes. Append only.
    pub fn buffer_mut(&mut self, at_least: usize) -> &mut BytesMut {
        self.buffer.reserve(self.missing().max(at_least));
        &mut self.buffer
    }

    /// Bytes that are missing until the next header or frame is complete. 0 if [`next_frame`](Self::next_frame) has something to do.
    pub fn missing(&self) -> usize {
        let wanted = self
            .header
            .map_or(HEADER_LEN, |header| header.length as usize);
        wanted.saturating_sub(self.buffer.len())
    }

    /// Whether the stream stands between two frames, so that its end here cuts nothing off.
    pub fn is_between_frames(&self) -> bool {
        self.header.is_none() && self.buffer.is_empty()
    }

    /// The next complete frame, or `None` until more bytes come.
    ///
    /// # Errors
    /// The bytes are not a frame (see [`Header::decode`]); every later call gives the same error.
    #[inline]
    pub fn next_frame(&mut self) -> Result<Option<Frame>, ProtocolError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let header = match self.header {
            Some(header) => header,
            None => {
                let Some(bytes) = self.buffer.first_chunk::<HEADER_LEN>() else {
                    return Ok(None);
                };
                match Header::decode(bytes) {
                    Ok(header) => {
                        self.buffer.advance(HEADER_LEN);
                        *self.header.insert(header)
                    }
                    Err(error) => {
                        self.buffer.clear();
                        self.broken = Some(error.clone());
                        return Err(error);
                    }
                }
            }
        };
        let length = header.length as usize;
        if self.buffer.len() < length {
            return Ok(None);
        }
        self.header = None;
        Ok(Some(Frame::new(
            header,
            self.buffer.split_to(length).freeze(),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FrameKind, MAX_PAYLOAD};

    #[test]
    fn takes_frames_byte_by_byte() {
        let mut bytes = Header {
            end: true,
            call: 7,
            mark: 9,
            ..Header::new(FrameKind::Response, 3)
        }
        .encode()
        .to_vec();
        bytes.extend_from_slice(b"abc");
        let mut decoder = Decoder::new();
        assert_eq!(decoder.missing(), HEADER_LEN);
        for byte in &bytes[..bytes.len() - 1] {
            decoder.push(&[*byte]);
            assert_eq!(decoder.next_frame(), Ok(None));
            assert!(!decoder.is_between_frames());
        }
        assert_eq!(decoder.missing(), 1);
        decoder.push(b"c");
        let frame = decoder.next_frame().unwrap().unwrap();
        assert_eq!(
            (frame.kind, frame.end, frame.call, frame.mark),
            (FrameKind::Response, true, 7, 9)
        );
        assert_eq!(&frame.payload[..], b"abc");
        assert!(decoder.is_between_frames());
    }

    #[test]
    fn stays_broken() {
        let mut decoder = Decoder::new();
        let mut bytes = Header::new(FrameKind::Ping, 0).encode();
        bytes[6] = 1;
        decoder.push(&bytes);
        let error = Err(ProtocolError::ReservedField { found: 1 });
        assert_eq!(decoder.next_frame(), error);
        decoder.push(&Header::new(FrameKind::Ping, 0).encode());
        assert_eq!(decoder.next_frame(), error);
    }

    #[test]
    fn refuses_bad_headers() {
        let decode = |change: fn(&mut [u8; HEADER_LEN])| {
            let mut bytes = Header {
                call: 1,
                end: true,
                ..Header::new(FrameKind::Error, 0)
            }
            .encode();
            change(&mut bytes);
            Header::decode(&bytes)
        };
        assert!(decode(|_| ()).is_ok());
        assert_eq!(
            decode(|b| b[..4].copy_from_slice(&(MAX_PAYLOAD + 1).to_le_bytes())),
            Err(ProtocolError::TooLong {
                found: MAX_PAYLOAD + 1
            })
        );
        assert_eq!(
            decode(|b| b[4] = 0x72),
            Err(ProtocolError::UnknownKind { found: 0x72 })
        );
        assert_eq!(
            decode(|b| b[5] = 3),
            Err(ProtocolError::ReservedFlags { found: 3 })
        );
        assert_eq!(
            decode(|b| b[5] = 0),
            Err(ProtocolError::MissingEnd {
                kind: FrameKind::Error
            })
        );
        assert_eq!(
            decode(|b| b[8] = 0),
            Err(ProtocolError::CallNumber {
                kind: FrameKind::Error,
                found: 0
            })
        );
        assert_eq!(
            decode(|b| b[4] = 0x50),
            Err(ProtocolError::CallNumber {
                kind: FrameKind::Ready,
                found: 1
            })
        );
        assert_eq!(
            decode(|b| {
                b[4] = 0x60;
                b[12] = 4;
            }),
            Err(ProtocolError::Mark {
                kind: FrameKind::Invoke,
                found: 4
            })
        );
    }
}
