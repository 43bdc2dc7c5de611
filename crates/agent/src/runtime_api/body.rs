use std::io::{self, BufRead};

use crate::runtime_api::http::{Head, HttpError, Line, Lines, bad};

/// Most bytes of one chunk-size line, and of all trailers together.
const CHUNK_LINE_LIMIT: usize = 1024;
const TRAILERS_LIMIT: usize = 64 * 1024;

/// The body of a request, read in pieces.
#[derive(Debug)]
pub(crate) struct Body {
    /// Bytes left of the body, or of the chunk.
    rest: u64,
    chunked: bool,
    /// A chunk has been read and its line end has not.
    in_chunk: bool,
    done: bool,
    /// Reading it has failed: where it would end, and the next request begin, is not known any more.
    broken: bool,
    /// `Lambda-Runtime-Function-Error-Type`, as a trailer.
    pub(crate) error_type: Option<String>,
    /// `Lambda-Runtime-Function-Error-Body`, as a trailer, in base64.
    pub(crate) error_body: Option<String>,
}

impl Body {
    /// The body that `head` announces.
    pub(crate) fn new(head: &Head) -> Self {
        let rest = head.content_length.unwrap_or(0);
        Self {
            rest,
            chunked: head.chunked,
            in_chunk: false,
            done: rest == 0 && !head.chunked,
            broken: false,
            error_type: None,
            error_body: None,
        }
    }

    /// Whether all of it was read.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Reads some bytes; 0 only at the end. After an error nothing more is read.
    pub(crate) fn read(
        &mut self,
        reader: &mut impl BufRead,
        buffer: &mut [u8],
    ) -> Result<usize, HttpError> {
        if self.broken {
            return Err(HttpError::Io);
        }
        let outcome = self.read_piece(reader, buffer);
        self.broken = outcome.is_err();
        outcome
    }

    fn read_piece(
        &mut self,
        reader: &mut impl BufRead,
        buffer: &mut [u8],
    ) -> Result<usize, HttpError> {
        if self.chunked && self.rest == 0 && !self.done {
            self.next_chunk(reader)?;
        }
        if self.done || buffer.is_empty() {
            return Ok(0);
        }
        let wanted = usize::try_from(self.rest)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = loop {
            match reader.read(&mut buffer[..wanted]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if count == 0 {
            return Err(HttpError::Io);
        }
        self.rest -= count as u64;
        self.done = self.rest == 0 && !self.chunked;
        Ok(count)
    }

    fn next_chunk(&mut self, reader: &mut impl BufRead) -> Result<(), HttpError> {
        let mut lines = Lines {
            reader,
            budget: CHUNK_LINE_LIMIT,
            line: Vec::new(),
        };
        if self.in_chunk {
            match next_line(&mut lines)? {
                line if line.is_empty() => {}
                _ => return Err(bad(400, "a chunk is longer than its size")),
            }
        }
        let line = next_line(&mut lines)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        if digits.is_empty()
            || digits.len() > 15
            || !digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return Err(bad(400, "a chunk size is not a number"));
        }
        self.rest = u64::from_str_radix(digits, 16)
            .map_err(|_| bad(400, "a chunk size is not a number"))?;
        self.in_chunk = true;
        if self.rest == 0 {
            lines.budget = TRAILERS_LIMIT;
            self.read_trailers(&mut lines)?;
            self.done = true;
        }
        Ok(())
    }

    fn read_trailers(&mut self, lines: &mut Lines<'_, impl BufRead>) -> Result<(), HttpError> {
        loop {
            let line = match lines.next()? {
                Some(Line::Kept(line)) if line.is_empty() => return Ok(()),
                Some(Line::Kept(line)) => line,
                Some(Line::TooLong) => continue,
                None => return Err(HttpError::Io),
            };
            let Some((name, value)) = line.split_once(':') else {
                return Err(bad(400, "a trailer line has no colon"));
            };
            match name.to_ascii_lowercase().as_str() {
                "lambda-runtime-function-error-type" => {
                    self.error_type = Some(value.trim().to_owned())
                }
                "lambda-runtime-function-error-body" => {
                    self.error_body = Some(value.trim().to_owned())
                }
                _ => {}
            }
        }
    }
}

fn next_line(lines: &mut Lines<'_, impl BufRead>) -> Result<String, HttpError> {
    match lines.next()? {
        Some(Line::Kept(line)) => Ok(line),
        Some(Line::TooLong) => Err(bad(400, "a chunk size is not a number")),
        None => Err(HttpError::Io),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(head: &Head, mut bytes: &[u8], piece: usize) -> Result<(Vec<u8>, Body), HttpError> {
        let mut body = Body::new(head);
        let mut all = Vec::new();
        let mut buffer = vec![0; piece];
        loop {
            match body.read(&mut bytes, &mut buffer)? {
                0 => return Ok((all, body)),
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
    }

    #[test]
    fn reads_both_framings() {
        let plain = Head {
            content_length: Some(5),
            ..Head::default()
        };
        let chunked = Head {
            chunked: true,
            ..Head::default()
        };
        let chunks = b"3\r\nabc\r\n00A;x=y\r\n0123456789\r\n0\r\nLambda-Runtime-Function-Error-Type: E\r\n\r\nnext";
        for piece in [1, 2, 3, 100] {
            assert_eq!(read_all(&plain, b"abcdefgh", piece).unwrap().0, b"abcde");
            let (all, body) = read_all(&chunked, chunks, piece).unwrap();
            assert_eq!(all, b"abc0123456789");
            assert_eq!(body.error_type.as_deref(), Some("E"));
            assert!(body.is_done());
        }
        assert!(read_all(&Head::default(), b"x", 10).unwrap().0.is_empty());
    }

    #[test]
    fn refuses_what_is_cut_or_wrong() {
        let chunked = Head {
            chunked: true,
            ..Head::default()
        };
        for bytes in [
            "",
            "3",
            "3\r\nab",
            "3\r\nabcd\r\n0\r\n\r\n",
            "-1\r\n",
            "\r\n",
            "fffffffffffffffff\r\n",
            "3\r\nabc\r\n0\r\n",
            "0\r\nx\r\n\r\n",
        ] {
            assert!(
                read_all(&chunked, bytes.as_bytes(), 10).is_err(),
                "{bytes:?}"
            );
        }
        // What follows could look like chunks again.
        let mut bytes = &b"zz\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"[..];
        let mut body = Body::new(&chunked);
        let mut buffer = [0; 10];
        for _ in 0..3 {
            assert!(body.read(&mut bytes, &mut buffer).is_err());
            assert!(!body.is_done());
        }
        assert!(bytes.starts_with(b"3\r\nabc"));
        assert!(
            read_all(
                &Head {
                    content_length: Some(4),
                    ..Head::default()
                },
                b"abc",
                10
            )
            .is_err()
        );
    }
}
