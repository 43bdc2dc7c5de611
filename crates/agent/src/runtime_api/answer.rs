use std::io::{self, Write};

use serde::Serialize;

/// An answer to the runtime, always JSON or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// The method that the endpoint has, where it was asked with another one.
    allow: Option<&'static str>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    #[serde(rename = "errorMessage")]
    message: &'a str,
    #[serde(rename = "errorType")]
    kind: &'a str,
}

impl Answer {
    /// 202, as every accepted answer gets it.
    pub(crate) fn accepted() -> Self {
        Self {
            status: 202,
            body: br#"{"status":"OK"}"#.to_vec(),
            allow: None,
        }
    }

    /// 200 without a body: a runtime that waits to be restored goes on.
    pub(crate) fn restored() -> Self {
        Self {
            status: 200,
            body: Vec::new(),
            allow: None,
        }
    }

    /// 405; `allow` is the method that the endpoint has.
    pub(crate) fn method(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::error(405, "MethodNotAllowed", "this endpoint has another method")
        }
    }

    pub(crate) fn is_accepted(&self) -> bool {
        self.status == 202
    }

    pub(crate) fn error(status: u16, kind: &str, message: &str) -> Self {
        let body = serde_json::to_vec(&ErrorBody { message, kind }).unwrap_or_default();
        Self {
            status,
            body,
            allow: None,
        }
    }

    /// 413, in the words of Lambda.
    pub(crate) fn too_large(limit: u64) -> Self {
        let message = format!("Exceeded maximum allowed payload size ({limit} bytes).");
        Self::error(413, "RequestEntityTooLarge", &message)
    }

    /// Writes the answer; `last`: the connection is closed behind it.
    pub(crate) fn write(&self, stream: &mut impl Write, last: bool) -> io::Result<()> {
        let connection = if last { "Connection: close\r\n" } else { "" };
        let allow = self
            .allow
            .map(|method| format!("Allow: {method}\r\n"))
            .unwrap_or_default();
        let mut bytes = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{allow}{connection}\r\n",
            self.status,
            reason(self.status),
            self.body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(&self.body);
        stream.write_all(&bytes)
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Request Entity Too Large",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}
