use std::fmt::Display;
use std::io::{self, Read};

use warren_protocol::{Frame, HEADER_LEN, Header};

/// Reads exactly one frame, so that nothing behind it is taken from whoever reads next. `None` at a clean end of the stream.
pub(crate) fn read_frame(stream: &mut impl Read, limit: u32) -> io::Result<Option<Frame>> {
    let Some(header) = read_header(stream)? else {
        return Ok(None);
    };
    if header.length > limit {
        return Err(invalid(format!(
            "{} frame of {} bytes, the limit is {limit}",
            header.kind, header.length
        )));
    }
    let mut payload = vec![0; header.length as usize];
    stream.read_exact(&mut payload)?;
    Ok(Some(Frame::new(header, payload.into())))
}

/// Reads a header and leaves the payload in the stream. `None` at a clean end of the stream.
pub(crate) fn read_header(stream: &mut impl Read) -> io::Result<Option<Header>> {
    let mut bytes = [0; HEADER_LEN];
    let mut filled = 0;
    while filled < HEADER_LEN {
        match stream.read(&mut bytes[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Header::decode(&bytes).map(Some).map_err(invalid)
}

/// The error for bytes that are not the protocol.
pub(crate) fn invalid(message: impl Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.to_string())
}
