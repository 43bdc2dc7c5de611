use std::io::{self, BufRead};

/// Most bytes of a request line or header line that are kept. Longer header lines are skipped, as clients send long ones that nobody here
/// reads (the X-Ray error cause may have 1 MiB), but not those that say where a request ends.
const LINE_KEPT: usize = 8 * 1024;

/// Headers that say where a request or its connection ends.
const FRAMING: [&str; 4] = [
    "connection",
    "content-length",
    "expect",
    "transfer-encoding",
];

/// Most bytes of a whole request head.
const HEAD_LIMIT: usize = 1024 * 1024 + 64 * 1024;

/// Why a request can't be served.
#[derive(Debug)]
pub(crate) enum HttpError {
    /// The connection broke or ended in the middle; there is nobody to tell.
    Io,
    /// These bytes are not a request that this server takes.
    Bad {
        /// HTTP status.
        status: u16,
        /// Why.
        message: &'static str,
    },
}

impl From<io::Error> for HttpError {
    fn from(_: io::Error) -> Self {
        Self::Io
    }
}

pub(crate) fn bad(status: u16, message: &'static str) -> HttpError {
    HttpError::Bad { status, message }
}

/// The head of a request, as far as it matters here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    pub(crate) content_length: Option<u64>,
    pub(crate) chunked: bool,
    /// The client waits for "100 Continue" before it sends the body.
    pub(crate) expects_continue: bool,
    /// The connection ends with this request: the client says so, or knows it no other way (HTTP/1.0).
    pub(crate) close: bool,
    /// HTTP/1.0, which knows no chunks.
    pub(crate) old: bool,
    /// `Lambda-Runtime-Function-Response-Mode`.
    pub(crate) response_mode: Option<String>,
    /// `Lambda-Runtime-Function-Error-Type`.
    pub(crate) error_type: Option<String>,
    /// `Lambda-Extension-Name`.
    pub(crate) extension_name: Option<String>,
    /// `Lambda-Extension-Identifier`.
    pub(crate) extension_id: Option<String>,
}

/// Reads the head of the next request; `None` if the connection ends before it.
pub(crate) fn read_head(reader: &mut impl BufRead) -> Result<Option<Head>, HttpError> {
    let mut lines = Lines {
        reader,
        budget: HEAD_LIMIT,
        line: Vec::new(),
    };
    // Empty lines before a request are allowed.
    let request = loop {
        match lines.next()? {
            None => return Ok(None),
            Some(Line::Kept(line)) if line.is_empty() => {}
            Some(Line::Kept(line)) => break line,
            Some(Line::TooLong) => return Err(bad(400, "the request line is too long")),
        }
    };
    let mut parts = request.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(bad(400, "the request line is not one"));
    };
    let old = match version {
        "HTTP/1.1" => false,
        "HTTP/1.0" => true,
        _ => return Err(bad(505, "only HTTP/1.1 and 1.0 are spoken here")),
    };
    let mut head = Head {
        method: method.to_owned(),
        path: path_of(target).to_owned(),
        close: old,
        old,
        ..Head::default()
    };
    loop {
        match lines.next()? {
            None => return Err(HttpError::Io),
            // Without a colon so far it could be any header.
            Some(Line::TooLong) => match lines.name() {
                Some(name) if !FRAMING.contains(&name.as_str()) => {}
                _ => return Err(bad(431, "a header line is too long")),
            },
            Some(Line::Kept(line)) if line.is_empty() => break,
            Some(Line::Kept(line)) => {
                let (name, value) = line
                    .split_once(':')
                    .ok_or(bad(400, "a header line has no colon"))?;
                // A space before the colon hides a length from one reader and not from the next (RFC 9112, 5.1).
                if name.is_empty() || name.bytes().any(|byte| byte.is_ascii_whitespace()) {
                    return Err(bad(400, "a header name has a space"));
                }
                head.take(&name.to_ascii_lowercase(), value.trim())?;
            }
        }
    }
    if head.chunked && head.content_length.is_some() {
        return Err(bad(400, "both Content-Length and Transfer-Encoding"));
    }
    if head.old {
        if head.chunked {
            return Err(bad(400, "HTTP/1.0 has no Transfer-Encoding"));
        }
        head.expects_continue = false;
    }
    Ok(Some(head))
}

/// The path of a request's target, which may be a whole URL (RFC 9112, 3.2.2), without its query.
fn path_of(target: &str) -> &str {
    let target = match target.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("http://") => target[7..]
            .find('/')
            .map_or("/", |slash| &target[7 + slash..]),
        _ => target,
    };
    target.split('?').next().unwrap_or_default()
}

impl Head {
    fn take(&mut self, name: &str, value: &str) -> Result<(), HttpError> {
        match name {
            "content-length" => {
                let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                let length = value
                    .parse()
                    .ok()
                    .filter(|_| digits)
                    .ok_or(bad(400, "Content-Length is not a number"))?;
                if self.content_length.is_some_and(|before| before != length) {
                    return Err(bad(400, "two different Content-Length"));
                }
                self.content_length = Some(length);
            }
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => self.chunked = true,
            "transfer-encoding" if value.eq_ignore_ascii_case("identity") => {}
            "transfer-encoding" => return Err(bad(501, "Transfer-Encoding other than chunked")),
            "expect" => self.expects_continue = value.eq_ignore_ascii_case("100-continue"),
            "connection" => {
                self.close |= value
                    .split(',')
                    .any(|option| option.trim().eq_ignore_ascii_case("close"));
            }
            "lambda-runtime-function-response-mode" => self.response_mode = Some(value.to_owned()),
            "lambda-runtime-function-error-type" => self.error_type = Some(value.to_owned()),
            "lambda-extension-name" => self.extension_name = Some(value.to_owned()),
            "lambda-extension-identifier" => self.extension_id = Some(value.to_owned()),
            _ => {}
        }
        Ok(())
    }
}

/// A line without its end.
pub(crate) enum Line {
    Kept(String),
    /// Over [`LINE_KEPT`] bytes; they were skipped.
    TooLong,
}

/// Lines out of a reader, bounded one by one and together.
pub(crate) struct Lines<'a, R> {
    pub(crate) reader: &'a mut R,
    /// Bytes that may still come.
    pub(crate) budget: usize,
    pub(crate) line: Vec<u8>,
}

impl<R: BufRead> Lines<'_, R> {
    /// The next line; `None` if the stream ends where a line would begin.
    pub(crate) fn next(&mut self) -> Result<Option<Line>, HttpError> {
        self.line.clear();
        let mut length = 0;
        loop {
            let available = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if available.is_empty() {
                return match length {
                    0 => Ok(None),
                    _ => Err(HttpError::Io),
                };
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let count = end.map_or(available.len(), |end| end + 1);
            self.budget = self
                .budget
                .checked_sub(count)
                .ok_or(bad(431, "the request head is too long"))?;
            let room = (LINE_KEPT + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(&available[..count.min(room)]);
            length += count;
            self.reader.consume(count);
            if end.is_some() {
                break;
            }
        }
        if length > LINE_KEPT {
            return Ok(Some(Line::TooLong));
        }
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Ok(Some(Line::Kept(String::from_utf8_lossy(line).into_owned())))
    }

    /// The header's name in lower case, if the kept bytes of the last line have a whole one.
    fn name(&self) -> Option<String> {
        let end = self.line.iter().position(|byte| *byte == b':')?;
        let name = String::from_utf8_lossy(&self.line[..end]);
        Some(name.trim().to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Head>, u16> {
        read_head(&mut text.as_bytes()).map_err(|error| match error {
            HttpError::Bad { status, .. } => status,
            HttpError::Io => 0,
        })
    }

    #[test]
    fn reads_what_matters() {
        let long = "x".repeat(1024 * 1024);
        let text = format!(
            "\r\nPOST /a/b?c=d HTTP/1.1\r\nHost: x\r\nLong: {long}\r\nCONTENT-LENGTH:  12 \r\nExpect: 100-Continue\r\n\
             connection: keep-alive, Close\r\nLambda-Runtime-Function-Error-Type: A.B\r\n\r\nrest"
        );
        let head = read(&text).unwrap().unwrap();
        let expected = Head {
            method: "POST".into(),
            path: "/a/b".into(),
            content_length: Some(12),
            expects_continue: true,
            close: true,
            error_type: Some("A.B".into()),
            ..Head::default()
        };
        assert_eq!(head, expected);
        assert!(read("").unwrap().is_none());
        let head = read(
            "GET HTTP://127.0.0.1:9001/a?b HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n",
        );
        let head = head.unwrap().unwrap();
        assert_eq!(head.path, "/a");
        assert!(head.old && head.close && !head.expects_continue);
        assert_eq!(path_of("http://host"), "/");
    }

    #[test]
    fn refuses_what_is_not_a_request() {
        assert_eq!(read("GET /\r\n\r\n"), Err(400));
        assert_eq!(read("GET / HTTP/2.0\r\n\r\n"), Err(505));
        assert_eq!(
            read("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Err(400)
        );
        assert_eq!(
            read("GET / HTTP/1.1\r\nContent-Length : 1\r\n\r\n"),
            Err(400)
        );
        assert_eq!(read("GET / HTTP/1.1 x\r\n\r\n"), Err(400));
        assert_eq!(read("GET / HTTP/1.1\r\nnothing\r\n\r\n"), Err(400));
        assert_eq!(
            read("GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n"),
            Err(400)
        );
        assert_eq!(
            read("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
            Err(400)
        );
        assert_eq!(
            read("GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Err(400)
        );
        assert_eq!(
            read("GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n"),
            Err(501)
        );
        for name in [
            "Content-Length",
            "transfer-encoding",
            "Connection",
            "Expect",
            "Content-Length ",
            "\tContent-Length",
            "X-No-Colon",
        ] {
            let padding = " ".repeat(LINE_KEPT);
            for line in [format!("{name}:{padding}5"), format!("{name}{padding}: 5")] {
                let outcome = read(&format!("GET / HTTP/1.1\r\n{line}\r\n\r\n"));
                let harmless = line.starts_with("X-No-Colon:");
                assert_eq!(outcome.err(), (!harmless).then_some(431), "{name}");
            }
        }
        assert_eq!(read("GET / HTTP/1.1\r\nA: b"), Err(0));
        assert_eq!(read(&"GET / ".repeat(3000)), Err(0));
        assert_eq!(read(&format!("{}\n", "GET / ".repeat(3000))), Err(400));
        assert_eq!(
            read(&format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(200_000))),
            Err(431)
        );
    }
}
