//! Contents of entries: unpacked piece by piece, and held to what the directory states of them.

use std::io;

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::Record;

/// Bytes that are unpacked at a time.
const PIECE: usize = 64 * 1024;
const STORED: u16 = 0;

/// Why a content was not copied: it is not as stated, or could not be written.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// What is wrong with the entry.
    Content(String),
    /// The writer's failure.
    Write(io::Error),
}

/// Unpacks contents, with memory that it uses again.
pub(crate) struct Inflater {
    inflate: Decompress,
    piece: Vec<u8>,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Self {
            inflate: Decompress::new(false),
            piece: vec![0; PIECE],
        }
    }

    /// Hands the content of a located entry to `write`, in pieces. All of it is right only once this has returned.
    pub(crate) fn copy(
        &mut self,
        record: &Record<'_>,
        mut write: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), CopyError> {
        let mut crc = Crc::new();
        let mut size = 0;
        let mut take = |piece: &[u8]| {
            size += piece.len() as u64;
            if size > record.size {
                return Err(wrong(format!(
                    "it has more than the {} bytes that it states",
                    record.size
                )));
            }
            crc.update(piece);
            write(piece).map_err(CopyError::Write)
        };
        match record.method {
            STORED => record.data.chunks(PIECE).try_for_each(&mut take)?,
            _ => self.inflate(record.data, &mut take)?,
        }
        if size != record.size {
            return Err(wrong(format!(
                "it has {size} bytes and states {}",
                record.size
            )));
        }
        if crc.sum() != record.crc {
            return Err(wrong("its check sum is wrong".to_owned()));
        }
        Ok(())
    }

    fn inflate(
        &mut self,
        mut packed: &[u8],
        take: &mut impl FnMut(&[u8]) -> Result<(), CopyError>,
    ) -> Result<(), CopyError> {
        self.inflate.reset(false);
        loop {
            let (read, made) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(packed, &mut self.piece, FlushDecompress::None)
                .map_err(|_| wrong("its compressed content is broken".to_owned()))?;
            let read = (self.inflate.total_in() - read) as usize;
            let made = (self.inflate.total_out() - made) as usize;
            packed = &packed[read..];
            take(&self.piece[..made])?;
            match status {
                Status::StreamEnd if packed.is_empty() => return Ok(()),
                Status::StreamEnd => {
                    return Err(wrong(format!(
                        "{} bytes follow its compressed content",
                        packed.len()
                    )));
                }
                Status::Ok | Status::BufError if (read, made) == (0, 0) => {
                    return Err(wrong("its compressed content is cut off".to_owned()));
                }
                Status::Ok | Status::BufError => {}
            }
        }
    }
}

fn wrong(problem: String) -> CopyError {
    CopyError::Content(problem)
}
