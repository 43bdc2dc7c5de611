use bytes::BytesMut;
use reqwest::{Method, RequestBuilder, Response};
use warren_model::native::{LogEvent, LogLine, LogLines, Since};

use crate::{Client, ClientError};

/// Longest line of the stream: a log line's 256 KiB, escaped, and what stands around it.
const MAX_EVENT: usize = 2 << 20;

/// Which lines of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Not older.
    pub since: Option<Since>,
    /// This many at most, the latest ones; the server's choice without it.
    pub limit: Option<usize>,
    /// Of this invocation only.
    pub request_id: Option<String>,
}

/// A log as it grows.
#[derive(Debug)]
pub struct LogFollow {
    client: Client,
    response: Response,
    /// Bytes of lines that are not complete.
    rest: BytesMut,
}

impl Client {
    /// Lines of a function's log, oldest first.
    pub async fn logs(&self, name: &str, query: &LogQuery) -> Result<Vec<LogLine>, ClientError> {
        let lines: LogLines = self.answer(self.logs_request(name, query)).await?;
        Ok(lines.lines)
    }

    /// The same lines, and then each further one.
    pub async fn follow_logs(
        &self,
        name: &str,
        query: &LogQuery,
    ) -> Result<LogFollow, ClientError> {
        let request = self.logs_request(name, query).query(&[("follow", "true")]);
        Ok(LogFollow {
            client: self.clone(),
            response: self.send(request).await?,
            rest: BytesMut::new(),
        })
    }

    fn logs_request(&self, name: &str, query: &LogQuery) -> RequestBuilder {
        let mut request = self.request(Method::GET, &["functions", name, "logs"]);
        if let Some(since) = query.since {
            request = request.query(&[("since", since.to_string())]);
        }
        if let Some(limit) = query.limit {
            request = request.query(&[("limit", limit.to_string())]);
        }
        if let Some(id) = &query.request_id {
            request = request.query(&[("request_id", id)]);
        }
        request
    }
}

impl LogFollow {
    /// The next line, or how many are missing; none once the server has ended the stream.
    pub async fn next(&mut self) -> Result<Option<LogEvent>, ClientError> {
        loop {
            while let Some(line) = split_line(&mut self.rest) {
                // Empty lines keep the connection alive.
                if !line.is_empty() {
                    let event = serde_json::from_slice(&line)
                        .map_err(|error| self.client.unexpected(error.to_string()))?;
                    return Ok(Some(event));
                }
            }
            if self.rest.len() > MAX_EVENT {
                let reason = format!("a log line of more than {MAX_EVENT} bytes");
                return Err(self.client.unexpected(reason));
            }
            let piece = self.response.chunk().await;
            match piece.map_err(|error| self.client.broken(error))? {
                Some(piece) => self.rest.extend_from_slice(&piece),
                None => return Ok(None),
            }
        }
    }
}

/// Takes the first complete line, without its line feed.
fn split_line(bytes: &mut BytesMut) -> Option<BytesMut> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let mut line = bytes.split_to(end + 1);
    line.truncate(end);
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_when_they_are_complete() {
        let mut bytes = BytesMut::from(&b"a\n\nbc"[..]);
        assert_eq!(split_line(&mut bytes).unwrap(), "a");
        assert_eq!(split_line(&mut bytes).unwrap(), "");
        assert_eq!(split_line(&mut bytes), None);
        bytes.extend_from_slice(b"d\n");
        assert_eq!(split_line(&mut bytes).unwrap(), "bcd");
        assert!(bytes.is_empty());
    }
}
