use bytes::{Bytes, BytesMut};

/// Longest line, in bytes, as CloudWatch Logs takes them (256 KiB).
pub const MAX_LINE: usize = 262_144;

/// Ends a line that was cut at [`MAX_LINE`]; the rest follows as a line of its own.
const CUT_MARK: &[u8] = b" [cut: the line goes on]";

/// Turns chunks of one output into lines. Holds [`MAX_LINE`] bytes at most, whatever comes.
///
/// ```
/// let mut lines = Vec::new();
/// let mut splitter = warren_telemetry::LineSplitter::default();
/// splitter.push(b"one\ntw", |line| lines.push(line));
/// splitter.push(b"o\nthree", |line| lines.push(line));
/// lines.extend(splitter.finish());
/// assert_eq!(lines, ["one", "two", "three"]);
/// ```
#[derive(Debug, Default)]
pub struct LineSplitter {
    /// Begun and not ended.
    rest: BytesMut,
}

impl LineSplitter {
    /// Takes in a chunk and gives each line that it ends, without its line feed.
    pub fn push(&mut self, chunk: &[u8], mut line: impl FnMut(Bytes)) {
        let mut chunk = chunk;
        while !chunk.is_empty() {
            let room = MAX_LINE - self.rest.len();
            // One more byte than fits may be looked at: the line feed of a line of exactly that length.
            let window = &chunk[..chunk.len().min(room + 1)];
            match window.iter().position(|byte| *byte == b'\n') {
                Some(end) if self.rest.is_empty() => {
                    line(Bytes::copy_from_slice(&chunk[..end]));
                    chunk = &chunk[end + 1..];
                }
                Some(end) => {
                    self.rest.extend_from_slice(&chunk[..end]);
                    line(self.rest.split().freeze());
                    chunk = &chunk[end + 1..];
                }
                None if window.len() > room => {
                    self.rest.extend_from_slice(&chunk[..room]);
                    self.rest.extend_from_slice(CUT_MARK);
                    line(self.rest.split().freeze());
                    chunk = &chunk[room..];
                }
                None => {
                    self.rest.extend_from_slice(chunk);
                    return;
                }
            }
        }
    }

    /// The line that was begun, if any: the output ended, or its invocation did.
    pub fn finish(&mut self) -> Option<Bytes> {
        (!self.rest.is_empty()).then(|| self.rest.split().freeze())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<Bytes> {
        let mut lines = Vec::new();
        let mut splitter = LineSplitter::default();
        for chunk in chunks {
            splitter.push(chunk, |line| lines.push(line));
        }
        lines.extend(splitter.finish());
        lines
    }

    #[test]
    fn keeps_empty_lines_and_bytes_that_are_no_text() {
        let lines = split(&[b"\n\xff\xfe\r\n", b"", b"\n", b"end"]);
        assert_eq!(lines, [&b""[..], b"\xff\xfe\r", b"", b"end"]);
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_whole() {
        let line = vec![b'x'; MAX_LINE];
        assert_eq!(split(&[&line, b"\nnext\n"]), [&line[..], b"next"]);
    }

    #[test]
    fn endless_output_is_cut_and_marked() {
        let chunk = vec![b'x'; 64 << 10];
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        for _ in 0..9 {
            splitter.push(&chunk, |line| lines.push(line));
            assert!(splitter.rest.len() <= MAX_LINE);
        }
        assert_eq!(lines.len(), 2);
        for line in lines {
            assert_eq!(line.len(), MAX_LINE + CUT_MARK.len());
            assert!(line.ends_with(CUT_MARK));
        }
        assert_eq!(splitter.finish().unwrap().len(), 64 << 10);
    }

    proptest! {
        #[test]
        fn how_it_is_cut_into_chunks_does_not_matter(
            output in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(0..200_usize, 0..10),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(output.len())).collect();
            cuts.extend([0, output.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &output[pair[0]..pair[1]]).collect();
            let lines = split(&chunks);
            prop_assert_eq!(&lines, &split(&[&output]));
            let mut joined = lines.join(&b'\n');
            if output.ends_with(b"\n") {
                joined.push(b'\n');
            }
            prop_assert_eq!(joined, output);
        }
    }
}
