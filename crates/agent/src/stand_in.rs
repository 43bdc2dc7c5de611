use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;

use crate::descriptors::replace;

/// Bytes to make room for at each read.
const READ: usize = 16 * 1024;

/// A socket of the sandbox's own in the place of a stream of the host's: while a checkpoint is taken, no descriptor may lead out.
pub(crate) struct StandIn {
    /// Has what was written meanwhile.
    kept: UnixStream,
}

impl StandIn {
    /// Closes the host's end of `stream`, which goes on under the same number.
    pub(crate) fn take_place_of(stream: &UnixStream) -> io::Result<Self> {
        let (kept, end) = UnixStream::pair()?;
        replace(stream, &end)?;
        Ok(Self { kept })
    }

    /// Gives the number to another stream of the host's, and answers what was written meanwhile.
    pub(crate) fn give_place_to(
        self,
        stream: &UnixStream,
        next: &UnixStream,
    ) -> io::Result<Vec<u8>> {
        let mut kept = Vec::new();
        self.kept.set_nonblocking(true)?;
        loop {
            let begin = kept.len();
            kept.resize(begin + READ, 0);
            let read = (&self.kept).read(&mut kept[begin..]);
            kept.truncate(begin + read.as_ref().map_or(0, |count| *count));
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        replace(stream, next)?;
        Ok(kept)
    }
}
