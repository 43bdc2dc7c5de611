//! A line of a log file: `time <TAB> source <TAB> request <TAB> log stream <TAB> text <LF>`, see the crate's README.

use std::sync::Arc;

use bytes::Bytes;
use warren_model::RequestId;

use crate::{LogLine, MAX_LINE, Source};

/// Most of a line's text that is written; the mark of a cut line is over [`MAX_LINE`].
const MAX_TEXT: usize = MAX_LINE + 64;

/// Appends a line.
pub(super) fn encode(line: &LogLine, out: &mut Vec<u8>) {
    let source = match line.source {
        Source::Platform => b'P',
        Source::Stdout => b'O',
        Source::Stderr => b'E',
    };
    out.extend_from_slice(line.time_us.to_string().as_bytes());
    out.extend_from_slice(&[b'\t', source, b'\t']);
    field(line.request.as_ref().map(RequestId::as_str), out);
    out.push(b'\t');
    field(line.log_stream.as_deref(), out);
    out.push(b'\t');
    let mut text = &line.text[..line.text.len().min(MAX_TEXT)];
    while let Some(special) = text.iter().position(|byte| matches!(byte, b'\n' | b'\\')) {
        out.extend_from_slice(&text[..special]);
        out.extend_from_slice(if text[special] == b'\n' {
            b"\\n"
        } else {
            b"\\\\"
        });
        text = &text[special + 1..];
    }
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// An id; what would break the format is replaced, as ids are ours or a header's.
fn field(value: Option<&str>, out: &mut Vec<u8>) {
    match value {
        None | Some("" | "-") => out.push(b'-'),
        Some(value) => out.extend(value.bytes().map(|byte| match byte {
            0..0x20 | 0x7f => b'?',
            byte => byte,
        })),
    }
}

/// Reads a line, without its line feed. `None` if it is not one.
pub(super) fn decode(bytes: &[u8], names: &mut Names) -> Option<LogLine> {
    let mut fields = bytes.splitn(5, |byte| *byte == b'\t');
    let time_us = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let source = match fields.next()? {
        b"P" => Source::Platform,
        b"O" => Source::Stdout,
        b"E" => Source::Stderr,
        _ => return None,
    };
    let id = |field: &[u8]| {
        let text = std::str::from_utf8(field).ok()?;
        Some((text != "-").then(|| text.to_owned()))
    };
    let request = id(fields.next()?)?.map(RequestId::new);
    let log_stream = id(fields.next()?)?.map(|name| names.share(&name));
    Some(LogLine {
        time_us,
        source,
        request,
        log_stream,
        text: unescape(fields.next()?)?,
    })
}

fn unescape(text: &[u8]) -> Option<Bytes> {
    if !text.contains(&b'\\') {
        return Some(Bytes::copy_from_slice(text));
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next()? {
                b'n' => b'\n',
                b'\\' => b'\\',
                _ => return None,
            },
            byte => *byte,
        });
    }
    Some(plain.into())
}

/// The log stream read last, so that the lines of an instance share its name.
#[derive(Debug, Default)]
pub(super) struct Names {
    last: Option<Arc<str>>,
}

impl Names {
    fn share(&mut self, name: &str) -> Arc<str> {
        match &self.last {
            Some(last) if **last == *name => Arc::clone(last),
            _ => {
                let name: Arc<str> = name.into();
                self.last = Some(Arc::clone(&name));
                name
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            time_us in any::<u64>(),
            source in prop_oneof![Just(Source::Platform), Just(Source::Stdout), Just(Source::Stderr)],
            request in proptest::option::of("[0-9a-f-]{2,36}"),
            stream in proptest::option::of("[!-~]{2,40}"),
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\\'), Just(b'\t'), any::<u8>()], 0..100),
        ) {
            let line = LogLine {
                time_us,
                source,
                request: request.map(RequestId::new),
                log_stream: stream.map(Into::into),
                text: text.into(),
            };
            let mut out = Vec::new();
            encode(&line, &mut out);
            prop_assert_eq!(out.pop(), Some(b'\n'));
            prop_assert!(!out.contains(&b'\n'));
            prop_assert_eq!(decode(&out, &mut Names::default()), Some(line));
        }

        #[test]
        fn anything_may_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            decode(&bytes, &mut Names::default());
        }
    }

    #[test]
    fn an_id_cannot_break_out_of_its_field() {
        let line = LogLine {
            time_us: 1,
            source: Source::Stdout,
            request: Some(RequestId::new("a\tb\nc")),
            log_stream: None,
            text: Bytes::from_static(b"text"),
        };
        let mut out = Vec::new();
        encode(&line, &mut out);
        assert_eq!(out, b"1\tO\ta?b?c\t-\ttext\n");
    }
}
